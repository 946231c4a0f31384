// What the outputs of a network say, in the form that viewer.js draws.

const order = (areas) => areas.map((_, i) => i).sort((a, b) => areas[b] - areas[a] || a - b);

function panopticLayer(ids, segments) {
  const sorted = order(segments.map(({ area }) => area));
  const numbers = new Uint16Array(segments.length + 1);
  sorted.forEach((index, position) => (numbers[segments[index].id] = position + 1));
  return { numbers: Uint16Array.from(ids, (id) => numbers[id]), segments: sorted.map((i) => segments[i]) };
}

// Shares of the cells of a side of a box in the pixels it covers, between the cells' centres.
function weights(low, high, size, cells) {
  const first = Math.max(Math.floor(low), 0);
  const last = Math.min(Math.ceil(high), size);
  const rows = [];
  for (let pixel = first; pixel < last; pixel++) {
    const place = ((pixel + 0.5 - low) / (high - low)) * cells - 0.5;
    rows.push(Float32Array.from({ length: cells }, (_, cell) => Math.max(0, 1 - Math.abs(place - cell))));
  }
  return { first, rows };
}

// Pixels in which the probability of an object is 0.5 or more.
function mask(box, logits, side, width, height) {
  const [x0, y0, x1, y1] = box;
  const down = weights(y0, y1, height, side);
  const across = weights(x0, x1, width, side);
  const probabilities = Float32Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)));
  const found = [];
  down.rows.forEach((row, y) => {
    const line = new Float32Array(side);
    for (let j = 0; j < side; j++) if (row[j]) for (let i = 0; i < side; i++) line[i] += row[j] * probabilities[j * side + i];
    across.rows.forEach((column, x) => {
      let value = 0;
      for (let i = 0; i < side; i++) value += column[i] * line[i];
      if (value >= 0.5) found.push((down.first + y) * width + across.first + x);
    });
  });
  return found;
}

// Of instances that overlap, the smaller lies on top; areas are those of whole masks.
function instanceLayer({ boxes, scores, classes, mask_logits }, { width, height }, config) {
  const side = mask_logits.dims[1] ?? 0;
  const masks = Array.from(scores.data, (score, i) => {
    if (score < config.minScore) return [];
    const logits = mask_logits.data.subarray(i * side * side, (i + 1) * side * side);
    return mask(boxes.data.subarray(4 * i, 4 * i + 4), logits, side, width, height);
  });
  const numbers = new Uint16Array(width * height);
  const segments = [];
  for (const i of order(masks.map((found) => found.length))) {
    if (!masks[i].length) continue;
    const color = config.palette[segments.length % config.palette.length];
    const { name } = config.categories[classes.data[i]];
    segments.push({ name, score: scores.data[i], area: masks[i].length, color });
    for (const pixel of masks[i]) numbers[pixel] = segments.length;
  }
  return { numbers, segments };
}

function semanticLayer(classes, config) {
  const areas = config.categories.map(() => 0);
  for (const id of classes) areas[id]++;
  const sorted = order(areas).filter((id) => areas[id]);
  const numbers = new Uint16Array(areas.length);
  sorted.forEach((id, position) => (numbers[id] = position + 1));
  const segments = sorted.map((id) => {
    const { name, color } = config.categories[id];
    return { name, score: null, area: areas[id], color };
  });
  return { numbers: Uint16Array.from(classes, (id) => numbers[id]), segments };
}

// Opaque pixels as a PNG.
async function png(width, height, color) {
  const canvas = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  const values = new Uint32Array(image.data.buffer); // alpha, blue, green, red
  for (let i = 0; i < values.length; i++) values[i] = 0xff000000 | color(i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

export async function describe(file, { width, height, pixels }, outputs, config) {
  const stem = file.name.replace(/\.[^.]*$/, "");
  const ids = outputs.panoptic_seg.data;
  const segments = Array.from(outputs.segment_classes.data, (id, i) => ({
    id: i + 1,
    name: config.categories[id].name,
    score: outputs.segment_scores.data[i],
    area: outputs.segment_areas.data[i],
    color: config.categories[id].color,
    category_id: config.categories[id].id,
    isthing: Boolean(outputs.segment_isthing.data[i]),
  }));
  const image = await png(width, height, (i) => pixels[3 * i] | (pixels[3 * i + 1] << 8) | (pixels[3 * i + 2] << 16));
  const map = await png(width, height, (i) => ids[i]); // its lowest byte as red, as COCO's format has it
  const json = {
    info: { description: config.description },
    images: [{ id: stem, file_name: file.name, height, width }],
    annotations: [
      {
        image_id: stem,
        file_name: `${stem}.png`,
        segments_info: segments.map(({ id, category_id, area, score }) => ({ id, category_id, area, score })),
      },
    ],
    categories: config.categories,
  };
  return {
    name: file.name,
    stem,
    image: URL.createObjectURL(image),
    layers: {
      panoptic: panopticLayer(ids, segments),
      instance: instanceLayer(outputs, { width, height }, config),
      semantic: semanticLayer(outputs.sem_seg.data, config),
    },
    png: map,
    json: JSON.stringify(json),
  };
}
