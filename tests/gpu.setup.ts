/** Makes WebGPU's globals (GPUBufferUsage, …) exist before a test file is read, and fails early where no driver works. */
import { nodeGpu } from '../src/cli/node-gpu';

await nodeGpu();
