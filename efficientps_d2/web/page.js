// Draws what describe() of page.py says of an image. Gradio calls it once, with the component's
// `element`, its `props`, and `watch`, which announces a new prediction.
const find = (selector) => element.querySelector(selector);
const canvas = find("canvas");
const tip = find(".tip");
const [fill, outlines] = ["canvas", "canvas"].map((name) => document.createElement(name)); // of a layer, opaque
const FADED = 90; // alpha of the segments around the active one
let shown = null; // image and layers, decoded
let layer = null; // the chosen one
let turn = 0; // counts predictions, which may come while another is decoded
let active = 0; // number of the segment under the pointer, 0 for none

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

async function decode(value) {
  const image = new Image();
  image.src = value.image;
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const layers = {};
  for (const [name, { numbers, segments }] of Object.entries(value.layers)) {
    if (numbers instanceof Uint16Array) {
      layers[name] = { numbers, segments }; // of the page without a server
      continue;
    }
    const stream = new Blob([bytes(numbers)]).stream();
    const plain = stream.pipeThrough(new DecompressionStream("deflate"));
    layers[name] = { numbers: new Uint16Array(await new Response(plain).arrayBuffer()), segments };
  }
  // Smaller images are enlarged, so that an outline takes less of them.
  const factor = Math.max(1, Math.floor(value.style.longSide / Math.max(width, height)));
  return { value, image, layers, width, height, factor };
}

const opaque = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// Segments in their colours, with outlines. Where there is none, the image shows, or the
// hatching of a panoptic layer whose every pixel could have a segment.
function paint() {
  const { width, height } = canvas;
  const { numbers, segments } = layer;
  const { value, factor } = shown;
  const thick = Math.max(1, Math.round(Math.max(width, height) / 1200)); // of outlines, shown smaller
  const stripe = Math.max(2, Math.floor(Math.max(shown.width, shown.height) / 128));
  const edge = opaque(value.style.edge);
  const [dark, light] = value.style.hatch.map((grey) => opaque([grey, grey, grey]));
  const hatches = isHatched();
  const images = [fill, outlines].map(() => new ImageData(width, height));
  const [pixels, lines] = images.map(({ data }) => new Uint32Array(data.buffer));
  const colors = Uint32Array.from([{ color: [0, 0, 0] }, ...segments], ({ color }, number) => {
    const alpha = number === 0 ? 0 : active && number !== active ? FADED : 255;
    return ((opaque(color) & 0xffffff) | (alpha << 24)) >>> 0;
  });
  const cells = (count, last) => Uint32Array.from({ length: count + 1 }, (_, i) => Math.min(Math.floor(i / factor), last));
  const [columns, rows] = [cells(width + thick, shown.width - 1), cells(height + thick, shown.height - 1)];
  for (let y = 0, i = 0; y < height; y++) {
    const [row, below] = [rows[y] * shown.width, rows[y + thick] * shown.width];
    for (let x = 0; x < width; x++, i++) {
      const number = numbers[row + columns[x]];
      if (number !== numbers[row + columns[x + thick]] || number !== numbers[below + columns[x]]) lines[i] = edge;
      if (number || !hatches) pixels[i] = colors[number];
      else pixels[i] = Math.floor((columns[x] + rows[y]) / stripe) % 2 ? dark : light;
    }
  }
  [fill, outlines].forEach((each, i) => each.getContext("2d").putImageData(images[i], 0, 0));
  blend();
}

function blend() {
  const percent = find(".opacity input").value;
  find(".opacity output").textContent = `${percent} %`;
  const context = canvas.getContext("2d");
  context.globalAlpha = 1;
  context.drawImage(shown.image, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = percent / 100;
  context.drawImage(fill, 0, 0);
  context.globalAlpha = Math.min(1, percent / 50); // they keep segments apart
  context.drawImage(outlines, 0, 0);
}

const isHatched = () => layer === shown.layers.panoptic && "semantic" in shown.layers;

const score = (segment) => segment.score?.toFixed(2) ?? "";
const area = (segment) => segment.area.toLocaleString("en");
const share = (segment) => ((100 * segment.area) / layer.numbers.length).toFixed(1);

// How many objects of each class the chosen layer has, the most frequent first.
function counts() {
  const found = new Map();
  for (const { name, counted } of layer.segments) if (counted) found.set(name, (found.get(name) ?? 0) + 1);
  const sorted = [...found].sort(([, a], [, b]) => b - a);
  return sorted.map(([name, count]) => `${count} ${name}`).join(", ");
}

function list() {
  const rows = layer.segments.map((segment, i) => {
    const row = document.createElement("tr");
    row.dataset.number = i + 1;
    for (const text of [segment.name, score(segment), area(segment), share(segment)]) {
      row.insertCell().textContent = text;
    }
    const swatch = document.createElement("i");
    swatch.style.background = `rgb(${segment.color})`;
    row.cells[0].prepend(swatch);
    return row;
  });
  find("tbody").replaceChildren(...rows);
  find("table").hidden = rows.length === 0;
  find(".none").hidden = rows.length > 0;
  find("table").classList.toggle("unscored", !layer.segments.some(({ score }) => score !== null));
  find(".counts").textContent = counts();
  find(".counts").hidden = !find(".counts").textContent;
  const empty = layer.numbers.reduce((count, number) => count + (number === 0), 0);
  find(".void").hidden = empty === 0 || !isHatched();
  find(".void").textContent = `Hatched: no segment, ${share({ area: empty })} %`;
}

function choose() {
  layer = shown.layers[find(".choices input:checked").value];
  active = 0;
  tip.hidden = true;
  list();
  paint();
}

function activate(number) {
  if (number === active) return;
  find("tr.active")?.classList.remove("active");
  active = number;
  find(`tr[data-number="${number}"]`)?.classList.add("active");
  paint();
}

function point(event) {
  const { width, height } = shown;
  const x = Math.floor((event.offsetX / canvas.clientWidth) * width);
  const y = Math.floor((event.offsetY / canvas.clientHeight) * height);
  const inside = x >= 0 && y >= 0 && x < width && y < height;
  activate(inside ? layer.numbers[y * width + x] : 0);
  tip.hidden = active === 0;
  if (tip.hidden) return;
  const segment = layer.segments[active - 1];
  const scored = segment.score === null ? "" : `score ${score(segment)}, `;
  tip.textContent = `${segment.name}, ${scored}${area(segment)} pixels`;
  const room = canvas.clientWidth - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(event.offsetX + 14, room))}px`;
  const above = event.offsetY - tip.offsetHeight - 10;
  tip.style.top = `${above < 0 ? event.offsetY + 22 : above}px`;
}

function leave() {
  tip.hidden = true;
  activate(0);
}

// As large as the column and the window allow; a tiny image is enlarged, so that it can be seen.
function fit() {
  const { width, height } = canvas;
  canvas.style.width = `min(100cqw, ${(70 * width) / height}vh, ${Math.max(width, 900)}px)`;
  canvas.style.aspectRatio = `${width} / ${height}`;
}

function tell(problem) {
  find(".problem").textContent = problem ?? "";
  find(".problem").hidden = !problem;
  find(".result").hidden = true;
}

async function show() {
  const value = props.value;
  const mine = ++turn;
  tell(value?.problem);
  if (!value || value.problem) return;
  try {
    const decoded = await decode(value);
    if (mine === turn) reveal(decoded);
  } catch (error) {
    if (mine === turn) tell(`This browser cannot show the result (${error.message}); give a smaller image.`);
  }
}

function reveal(decoded) {
  shown = decoded;
  for (const each of [canvas, fill, outlines]) {
    [each.width, each.height] = [shown.width * shown.factor, shown.height * shown.factor];
  }
  find("figcaption").textContent = `${shown.value.name}, ${shown.width} × ${shown.height}`;
  find(".note").textContent = shown.value.note ?? "";
  find(".result").hidden = false;
  for (const choice of element.querySelectorAll(".choices input")) {
    choice.parentElement.hidden = !(choice.value in shown.layers); // Mask R-CNN is not semantic
  }
  fit();
  choose();
}

// A row for each segment of the panoptic map.
function table({ annotations, categories }) {
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = annotations[0].segments_info.map(({ id, category_id, area, score }) => {
    const { name, isthing } = categories.find((category) => category.id === category_id);
    return [id, quoted(name), isthing, score, area].join(",");
  });
  return ["id,class,isthing,score,area", ...rows].join("\n") + "\n";
}

function download(kind) {
  const { png, json, stem } = shown.value;
  const files = {
    png: () => [png instanceof Blob ? png : bytes(png), "image/png"],
    json: () => [json, "application/json"],
    csv: () => [table(JSON.parse(json)), "text/csv"],
  };
  const [content, type] = files[kind]();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = `${stem}.${kind}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

canvas.addEventListener("pointermove", point);
canvas.addEventListener("pointerdown", point);
canvas.addEventListener("pointerleave", (event) => {
  if (event.pointerType !== "touch") leave(); // a finger leaves when it is lifted
});
find(".opacity input").addEventListener("input", blend);
find(".choices").addEventListener("change", choose);
find(".downloads").addEventListener("click", (event) => {
  if (event.target.dataset.file) download(event.target.dataset.file);
});
find("tbody").addEventListener("pointerover", (event) => {
  activate(Number(event.target.closest("tr").dataset.number));
});
find("tbody").addEventListener("pointerleave", () => activate(0));
watch("value", show);
