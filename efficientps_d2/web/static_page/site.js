// The page: takes images, has worker.js predict them, and shows the result.
import { AGAIN, problemOfImage, problemOfModel, readConfig } from "./problems.js";
import { viewer } from "./viewer.js";

const find = (selector) => document.querySelector(selector);
const props = { value: null };
let showValue;
viewer(find("#viewer"), props, (_, show) => (showValue = show));

function show(value) {
  props.value = value;
  showValue();
}

function progress(text, share) {
  const bar = find("progress");
  find("#progress").hidden = !text;
  find("#progress span").textContent = text ?? "";
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

let worker = null;
let loaded = false; // whether it has the model
let waiting = null; // the promise of the answer that is computed

// Asks the worker what the network says; a worker that failed is replaced by a new one.
function ask(image) {
  worker ??= new Worker("worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    let begun = 0;
    const clock = setInterval(() => {
      if (begun) progress(`Predicting, ${((performance.now() - begun) / 1000).toFixed(0)} s`);
    }, 500);
    progress(loaded ? "Predicting" : "Loading the model");
    const fail = (error) => {
      clearInterval(clock);
      worker?.terminate(); // its memory may be used up
      worker = null;
      loaded = false;
      reject(error);
    };
    worker.onmessage = ({ data }) => {
      if (data.begun) [loaded, begun] = [true, performance.now()];
      else if (data.loaded) progress(`Loading the model, ${(data.loaded / 1e6).toFixed(1)} MB`, data.loaded / config.bytes);
      else if (data.starting) progress("Starting the model");
      else if (data.error) fail(data.error);
      else if (data.value) {
        clearInterval(clock);
        resolve({ ...data.value, image: URL.createObjectURL(data.value.image) });
      }
    };
    worker.onerror = ({ message }) => fail({ message: message || `A file of this page is missing; ${AGAIN}.`, told: !message });
    worker.onmessageerror = () => fail({ message: "its answer cannot be read" });
    worker.postMessage({ image, config }, [image.pixels.buffer]);
  });
}

// RGB of a file: upright, without colour management, made smaller if it is too large.
async function decode(file) {
  const bitmap = await createImageBitmap(file, {
    imageOrientation: "from-image",
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
  });
  const before = `${bitmap.width} × ${bitmap.height}`;
  const scale = Math.min(1, Math.sqrt(config.maxPixels / (bitmap.width * bitmap.height)));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(3 * width * height);
  for (let i = 0, j = 0; i < data.length; i += 4) {
    pixels[j++] = data[i];
    pixels[j++] = data[i + 1];
    pixels[j++] = data[i + 2];
  }
  const note = scale < 1 ? `Reduced from ${before} to ${width} × ${height} pixels, because a browser has little memory.` : "";
  return { name: file.name, note, width, height, pixels };
}

async function predict(file) {
  let image;
  try {
    image = await decode(file);
  } catch (error) {
    return { problem: problemOfImage(file.name, error) };
  }
  try {
    return await ask(image);
  } catch (error) {
    return { problem: problemOfModel(error) };
  } finally {
    progress(null);
  }
}

// One after the other; of several that wait, the last.
async function take(file) {
  if (!file) return;
  const mine = (take.turn = (take.turn ?? 0) + 1);
  await waiting;
  if (mine !== take.turn) return;
  if (props.value?.image) URL.revokeObjectURL(props.value.image);
  show(null);
  waiting = predict(file).then(show);
}

function describeModel() {
  const names = config.categories.map(({ name }) => name);
  const listed = names.slice(0, 20).join(", ") + (names.length > 20 ? ", …" : "");
  find("#model").textContent = `The model knows ${names.length} classes: ${listed}.`;
}

function listen() {
  const drop = find("#drop");
  drop.querySelector("input").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  }
  window.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  drop.hidden = false;
}

const { config, problem } = await readConfig();
find("#asleep").hidden = true;
if (problem) show({ problem });
else {
  describeModel();
  listen();
}
