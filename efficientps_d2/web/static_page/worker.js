// Runs the network, so that the page answers meanwhile.
import { describe } from "./layers.js";
import * as ort from "./ort.wasm.bundle.min.mjs";
import { AGAIN } from "./problems.js";

ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };
// Threads need headers that plain file servers do not send.
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
let session = null;

class Problem extends Error {} // a whole sentence

// The content of a file; `tell` gets how much of it there is.
async function download(url, tell) {
  const parts = [];
  let answer;
  let loaded = 0;
  try {
    answer = await fetch(url, { cache: "no-cache" }); // it may have been replaced
    for (const reader = answer.body.getReader(); answer.ok; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      tell((loaded += value.length));
    }
  } catch (error) {
    throw new Problem(`${url} cannot be fetched (${error.message}); check the connection and reload the page.`);
  }
  if (!answer.ok) throw new Problem(`${url} cannot be fetched (${answer.status}); ${AGAIN}.`);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function requireWhole(content, { model, bytes, sha256 }) {
  if (content.length !== bytes) {
    throw new Problem(`${model} arrived incomplete (${content.length} of ${bytes} bytes); reload the page.`);
  }
  if (!self.crypto.subtle) return; // which is there by https and on localhost only
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== sha256) {
    throw new Problem(`${model} is not the file that this page was written with; reload the page, or ${AGAIN}.`);
  }
}

async function load(config) {
  const content = await download(config.model, (loaded) => self.postMessage({ loaded }));
  await requireWhole(content, config);
  self.postMessage({ starting: true });
  return ort.InferenceSession.create(content, { executionProviders: ["wasm"], logSeverityLevel: 4 });
}

self.onmessage = async ({ data: { image, config } }) => {
  let stage = "loading";
  try {
    session ??= await load(config);
    stage = "predicting";
    self.postMessage({ begun: true });
    const tensor = new ort.Tensor("uint8", image.pixels, [image.height, image.width, 3]);
    const found = await session.run({ image: tensor });
    const outputs = {};
    for (const [name, tensor] of Object.entries(found)) {
      // 64-bit integers are small numbers here: classes and areas.
      const data = tensor.type === "int64" ? Float64Array.from(tensor.data, Number) : tensor.data;
      outputs[name] = { data, dims: tensor.dims };
    }
    self.postMessage({ value: await describe(image, outputs, config) });
  } catch (error) {
    const message = String(error?.message ?? error);
    self.postMessage({ error: { message, told: error instanceof Problem, stage } });
  }
};
