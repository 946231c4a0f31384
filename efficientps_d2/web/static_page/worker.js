// Runs the network, so that the page answers meanwhile.
import { describe } from "./layers.js";
import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };
// Threads need headers that plain file servers do not send.
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
let session = null;

async function load(url) {
  const answer = await fetch(url, { cache: "no-cache" }); // it may have been replaced
  if (!answer.ok) throw new Error(`${url} cannot be fetched: ${answer.status}`);
  const parts = [];
  let loaded = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    self.postMessage({ loaded });
  }
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 4 });
}

self.onmessage = async ({ data: { image, config } }) => {
  try {
    session ??= await load(config.model);
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
    self.postMessage({ error: String(error?.message ?? error) });
  }
};
