/** Small networks of real ops, run with scratch tensors either in the arena's shared memory or each in a buffer of its own. */
import { Graph } from '../../src/autograd/graph';
import { Arena } from '../../src/runtime/arena';
import { traitsOf } from '../../src/runtime/device';
import type { Tensor } from '../../src/runtime/program';
import { normals, caseRandom } from '../../src/shaders/suite';
import { Guarded, GuardedGraph, runProgram, testGpu } from '../ops/guarded';

export const M = 11;
export const C = 24;

/** Named tensors outside a program: trained ones have a gradient beside them. */
export class Outside {
  private readonly tensors = new Map<string, Guarded>();
  private readonly gradients = new Map<string, Guarded>();

  constructor(
    private readonly gpu: Awaited<ReturnType<typeof testGpu>>,
    private readonly graph: Graph,
  ) {}

  /** A tensor [rows, columns] of seeded values. */
  input(name: string, rows = M, columns = C): Tensor {
    const values = normals(caseRandom(rows, columns, name.length, name.charCodeAt(0)), rows * columns, 0.5);
    const guarded = new Guarded(this.gpu, name, [rows, columns], 'f32', values);
    this.tensors.set(name, guarded);
    return guarded.tensor;
  }

  /** The same, trained. */
  parameter(name: string, rows = M, columns = C): Tensor {
    const tensor = this.input(name, rows, columns);
    const gradient = new Guarded(this.gpu, `gradient of ${name}`, [rows, columns], 'f32', new Float32Array(rows * columns));
    this.gradients.set(name, gradient);
    this.graph.parameter(tensor, gradient.tensor);
    return tensor;
  }

  async gradientWords(name: string): Promise<Uint32Array> {
    return (await this.gradients.get(name)!.read()).words;
  }

  async gradient(name: string): Promise<Float64Array> {
    return Float64Array.from(new Float32Array((await this.gradientWords(name)).slice().buffer));
  }

  async values(name: string): Promise<Float64Array> {
    return Float64Array.from(new Float32Array((await this.tensors.get(name)!.read()).words.slice().buffer));
  }

  get trained(): string[] {
    return [...this.gradients.keys()];
  }

  destroy(): void {
    for (const guarded of [...this.tensors.values(), ...this.gradients.values()]) guarded.destroy();
  }
}

export interface Run {
  graph: Graph;
  outside: Outside;
  /** Scratch bytes of the program. */
  bytes: number;
}

/** Records `network` and its backward pass, and runs the program once. */
export async function run(network: (g: Graph, outside: Outside) => void, memory: 'arena' | 'apart' = 'arena'): Promise<Run> {
  const gpu = await testGpu();
  const graph = memory === 'apart' ? new GuardedGraph(gpu) : new Graph(traitsOf(gpu));
  const outside = new Outside(gpu, graph);
  network(graph, outside);
  graph.backward();
  const program = graph.program();
  const arena = new Arena();
  arena.layout(program);
  await runProgram(gpu, program);
  return { graph, outside, bytes: arena.bytes };
}

/** All gradients of a run, bit by bit. */
export async function gradientBits({ outside }: Run): Promise<Record<string, string>> {
  const bits: Record<string, string> = {};
  for (const name of outside.trained) bits[name] = Buffer.from((await outside.gradientWords(name)).slice().buffer).toString('base64');
  return bits;
}
