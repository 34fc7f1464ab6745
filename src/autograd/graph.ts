import type { DeviceTraits } from '../runtime/device';
import { linearGrid, rowLength, scratchTensor, specialize, type Dispatch, type DType, type Kernel, type Rows, type Shape, type Tensor } from '../runtime/program';
import copySource from './copy.wgsl?raw';

/** Where a backward kernel puts a gradient: it overwrites, or adds to what is there. */
export interface GradTarget {
  tensor: Tensor;
  add: boolean;
}

/** A gradient on its way: the tensors in `owners` all have this gradient, and share its memory. */
interface Gradient {
  tensor: Tensor;
  owners: Set<Tensor>;
}

interface Node {
  inputs: readonly Tensor[];
  outputs: readonly Tensor[];
  backward: () => void;
}

/**
 * Reverse-mode differentiation over symbolic tensors. Ops (src/shaders) append their dispatches and
 * record how to go back; `backward` then appends the backward dispatches in reverse order. What comes
 * out is a flat program; nothing is computed here.
 */
export class Graph {
  readonly dispatches: Dispatch[] = [];
  private tape: Node[] = [];
  private readonly differentiable = new Set<Tensor>();
  private readonly gradients = new Map<Tensor, Gradient>();
  private readonly parameterGradients = new Map<Tensor, Tensor>();

  /** `traits`: what the device offers, for ops that exist in variants. Fixed for a program, so that runs repeat bit for bit. */
  constructor(readonly traits: DeviceTraits) {}

  /** A scratch tensor for an op's result. */
  tensor(name: string, shape: Shape, dtype: DType = 'f32'): Tensor {
    return scratchTensor(name, shape, dtype);
  }

  /** Declares a trained tensor; its gradient is added to `gradient`, which lives outside the program. */
  parameter(tensor: Tensor, gradient: Tensor): void {
    this.differentiable.add(tensor);
    this.parameterGradients.set(tensor, gradient);
  }

  /** Appends one dispatch. */
  dispatch(
    kernel: Kernel,
    rows: Rows,
    grid: (rows: number) => readonly [number, number, number],
    bindings: { read?: readonly Tensor[]; update?: readonly Tensor[]; write?: readonly Tensor[] },
    flopsPerRow = 0,
  ): void {
    const all = (['read', 'update', 'write'] as const).flatMap((access) => (bindings[access] ?? []).map((tensor) => ({ tensor, access })));
    if (new Set(all.map(({ tensor }) => tensor)).size !== all.length) {
      throw new Error(`${kernel.name} binds a tensor twice: ${all.map(({ tensor }) => tensor.name).join(', ')}`);
    }
    this.dispatches.push({ kernel, bindings: all, rows, grid, flopsPerRow });
  }

  /** True where a gradient has to reach this tensor. */
  needsGrad(tensor: Tensor): boolean {
    return this.differentiable.has(tensor);
  }

  /**
   * Records an op. `backward` is called once the gradients of the outputs are complete; it reads them with
   * `gradOf` and sends its own on with `accumulate`. Nothing is recorded where no input needs a gradient.
   * An op that changes a tensor in place names it among inputs and outputs alike.
   */
  record(inputs: readonly Tensor[], outputs: readonly Tensor[], backward: () => void): void {
    if (!inputs.some((tensor) => this.differentiable.has(tensor))) return;
    for (const output of outputs) this.differentiable.add(output);
    this.tape.push({ inputs, outputs, backward });
  }

  /** The gradient that arrived at a tensor, or null where none did. */
  gradOf(tensor: Tensor): Tensor | null {
    return this.gradients.get(tensor)?.tensor ?? null;
  }

  /** Calls `emit` with where to put this tensor's gradient; does nothing where it needs none. */
  accumulate(tensor: Tensor, emit: (target: GradTarget) => void): void {
    if (!this.differentiable.has(tensor)) return;
    const parameterGradient = this.parameterGradients.get(tensor);
    if (parameterGradient) return emit({ tensor: parameterGradient, add: true });
    const existing = this.gradients.get(tensor);
    if (!existing) {
      const fresh = this.tensor(`d ${tensor.name}`, tensor.shape);
      this.gradients.set(tensor, { tensor: fresh, owners: new Set([tensor]) });
      return emit({ tensor: fresh, add: false });
    }
    emit({ tensor: this.own(tensor, existing), add: true });
  }

  /** The gradient that arrived at a tensor, free to be changed in place: for ops that work in place. */
  gradToUpdate(tensor: Tensor): Tensor | null {
    const gradient = this.gradients.get(tensor);
    return gradient ? this.own(tensor, gradient) : null;
  }

  /** Says that `tensor`'s gradient is (or gets added) `gradient` itself, as for both sides of a sum. */
  passGrad(tensor: Tensor, gradient: Tensor): void {
    if (!this.differentiable.has(tensor)) return;
    const source = [...this.gradients.values()].find((entry) => entry.tensor === gradient);
    if (this.gradients.has(tensor) || this.parameterGradients.has(tensor) || !source) {
      return this.accumulate(tensor, (target) => this.copy(gradient, target));
    }
    source.owners.add(tensor);
    this.gradients.set(tensor, source);
  }

  /** Sets the gradient a backward pass starts from, e.g. what the loss kernel left. */
  seed(tensor: Tensor, gradient: Tensor): void {
    this.gradients.set(tensor, { tensor: gradient, owners: new Set([tensor]) });
  }

  /** Appends all backward dispatches of what was recorded, last op first. */
  backward(): void {
    this.unwind(this.tape.splice(0));
  }

  /**
   * Runs `fn` and at once goes back through what it recorded, so that nothing of it has to be kept:
   * the loss over a chunk of logits. Its gradients wait at the tensors it started from.
   */
  immediately(fn: () => void): void {
    const outer = this.tape;
    this.tape = [];
    fn();
    const nodes = this.tape;
    this.tape = outer;
    this.unwind(nodes);
  }

  /**
   * Runs `fn` and keeps only its inputs: the backward pass runs it again and goes back through that.
   * Saves a layer's activations for the price of its forward pass.
   */
  checkpoint(inputs: readonly Tensor[], fn: () => Tensor): Tensor {
    const outer = this.tape;
    this.tape = [];
    const output = fn();
    const differentiable = this.tape.length > 0;
    this.tape = outer;
    if (!differentiable) return output;
    this.tape.push({
      inputs,
      outputs: [output],
      backward: () => {
        const saved = this.tape;
        this.tape = [];
        const again = fn();
        const nodes = this.tape;
        this.tape = saved;
        this.rename(output, again);
        this.unwind(nodes);
      },
    });
    return output;
  }

  /** The program: dispatches whose results reach something that outlives it. */
  program(): Dispatch[] {
    const needed = new Set<Tensor>();
    const kept: Dispatch[] = [];
    for (const dispatch of [...this.dispatches].reverse()) {
      const useful = dispatch.bindings.some(({ tensor, access }) => access !== 'read' && (tensor.range !== null || needed.has(tensor)));
      if (!useful) continue;
      for (const { tensor, access } of dispatch.bindings) if (access !== 'write') needed.add(tensor);
      kept.push(dispatch);
    }
    return kept.reverse();
  }

  private unwind(nodes: readonly Node[]): void {
    for (const node of [...nodes].reverse()) {
      if (!node.outputs.some((output) => this.gradients.has(output))) continue;
      node.backward();
      for (const output of node.outputs) if (!node.inputs.includes(output)) this.release(output);
    }
  }

  private release(tensor: Tensor): void {
    this.gradients.get(tensor)?.owners.delete(tensor);
    this.gradients.delete(tensor);
  }

  private rename(from: Tensor, to: Tensor): void {
    const gradient = this.gradients.get(from);
    if (!gradient || from === to) return;
    this.release(from);
    gradient.owners.add(to);
    this.gradients.set(to, gradient);
  }

  /** A gradient that only `tensor` has, so that it can be added to: shared memory is copied first. */
  private own(tensor: Tensor, gradient: Gradient): Tensor {
    if (gradient.owners.size === 1) return gradient.tensor;
    const copy = this.tensor(`d ${tensor.name}`, tensor.shape);
    this.copy(gradient.tensor, { tensor: copy, add: false });
    this.release(tensor);
    this.gradients.set(tensor, { tensor: copy, owners: new Set([tensor]) });
    return copy;
  }

  private copy(from: Tensor, to: GradTarget): void {
    const length = rowLength(from.shape);
    const kernel = specialize('copy', copySource, { LENGTH: length, ADD: to.add });
    const grid = (rows: number): [number, number, number] => linearGrid(Math.ceil((rows * length) / 256));
    this.dispatch(kernel, from.shape[0], grid, { read: [from], [to.add ? 'update' : 'write']: [to.tensor] }, length);
  }
}
