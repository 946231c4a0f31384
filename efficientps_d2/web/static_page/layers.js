// What the outputs of a network say, in the form that viewer.js draws.
import { colorsOfInstances, colorsOfSegments } from "./colors.js";

const order = (areas) => areas.map((_, i) => i).sort((a, b) => areas[b] - areas[a] || a - b);

function panopticLayer(ids, segments) {
  const sorted = order(segments.map(({ area }) => area));
  const numbers = new Uint16Array(segments.length + 1);
  sorted.forEach((index, position) => (numbers[segments[index].id] = position + 1));
  const found = sorted.map((i) => {
    const { name, score, area, color, isthing } = segments[i];
    return { name, score, area, color, counted: isthing };
  });
  return { numbers: Uint16Array.from(ids, (id) => numbers[id]), segments: found };
}

// For the pixels of a side of a box the two cells that they lie between, and how much of the second.
function between(low, high, size, cells) {
  const first = Math.max(Math.floor(low), 0);
  const count = Math.max(Math.min(Math.ceil(high), size) - first, 0);
  return Array.from({ length: count }, (_, i) => {
    const place = ((first + i + 0.5 - low) / (high - low)) * cells - 0.5;
    return { pixel: first + i, cell: Math.floor(place), share: place - Math.floor(place) };
  });
}

// The pixels in which the probability of an object is 0.5 or more; outside the cells it is 0.
function mask(box, logits, side, width, height) {
  const [x0, y0, x1, y1] = box;
  const probabilities = Float32Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)));
  const at = (row, column) =>
    row < 0 || column < 0 || row >= side || column >= side ? 0 : probabilities[row * side + column];
  const columns = between(x0, x1, width, side);
  const found = [];
  for (const { pixel: y, cell: row, share: down } of between(y0, y1, height, side)) {
    for (const { pixel: x, cell: column, share: across } of columns) {
      const above = (1 - across) * at(row, column) + across * at(row, column + 1);
      const below = (1 - across) * at(row + 1, column) + across * at(row + 1, column + 1);
      if ((1 - down) * above + down * below >= 0.5) found.push(y * width + x);
    }
  }
  return Uint32Array.from(found);
}

// Of instances that overlap, the smaller lies on top; areas are those of whole masks.
function instanceLayer(outputs, { width, height }, found, config) {
  const { boxes, scores, classes, mask_logits } = outputs;
  const side = mask_logits.dims[1] ?? 0;
  const masks = Array.from(scores.data, (_, i) => {
    const logits = mask_logits.data.subarray(i * side * side, (i + 1) * side * side);
    return mask(boxes.data.subarray(4 * i, 4 * i + 4), logits, side, width, height);
  });
  const colors = colorsOfInstances(masks, classes.data, outputs.panoptic_seg.data, found, config);
  const numbers = new Uint16Array(width * height);
  const segments = [];
  for (const i of order(masks.map((found) => found.length))) {
    const score = scores.data[i];
    if (!masks[i].length || score < config.minScore) continue;
    const { name } = config.categories[classes.data[i]];
    segments.push({ name, score, area: masks[i].length, color: colors[i], counted: true });
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
    return { name, score: null, area: areas[id], color, counted: false };
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

// The id that COCO, Cityscapes and the commands give to an image.
function imageId(stem) {
  const name = stem.replace(/_leftImg8bit$/, "");
  return /^\d{12}$/.test(name) ? Number(name) : name;
}

export async function describe({ name, note, width, height, pixels }, outputs, config) {
  const stem = name.replace(/\.[^.]*$/, "");
  const ids = outputs.panoptic_seg.data;
  const segments = Array.from(outputs.segment_classes.data, (id, i) => ({
    id: i + 1,
    name: config.categories[id].name,
    score: outputs.segment_scores.data[i],
    area: outputs.segment_areas.data[i],
    category: id,
    category_id: config.categories[id].id,
    isthing: Boolean(outputs.segment_isthing.data[i]),
  }));
  colorsOfSegments(segments, config).forEach((color, i) => (segments[i].color = color));
  const image = await png(width, height, (i) => pixels[3 * i] | (pixels[3 * i + 1] << 8) | (pixels[3 * i + 2] << 16));
  const map = await png(width, height, (i) => ids[i]); // its lowest byte as red, as COCO's format has it
  const json = {
    info: { description: config.description },
    images: [{ id: imageId(stem), file_name: name, height, width }],
    annotations: [
      {
        image_id: imageId(stem),
        file_name: `${stem}.png`,
        segments_info: segments.map(({ id, category_id, area, score }) => ({ id, category_id, area, score })),
      },
    ],
    categories: config.categories,
  };
  return {
    name,
    note,
    stem,
    image,
    style: config.style,
    layers: {
      panoptic: panopticLayer(ids, segments),
      instance: instanceLayer(outputs, { width, height }, segments, config),
      semantic: semanticLayer(outputs.sem_seg.data, config),
    },
    png: map,
    json: JSON.stringify(json),
  };
}
