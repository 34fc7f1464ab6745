/** Node's WebGPU for tests: `openDevice(await nodeGpu())`. */
export { nodeGpu } from '../src/cli/node-gpu';
