import type { Graph } from '../autograd/graph';
import type { Gpu } from '../runtime/device';
import { readBuffer } from '../runtime/device';
import type { MemoryLedger, Storage } from '../runtime/memory';
import { externalTensor, type Shape, type Tensor } from '../runtime/program';

/** A trained tensor: name as its file spells it, rows first. */
export interface ParameterSpec {
  name: string;
  shape: readonly number[];
}

/** Parameters lie one after the other in a few flat buffers, so that the optimizer is one dispatch a bank. */
export interface Bank {
  /** Values, padding included. */
  length: number;
  parameter: Tensor;
  gradient: Tensor;
  expAvg: Tensor;
  expAvgSq: Tensor;
}

interface Slot {
  spec: ParameterSpec;
  bank: number;
  /** Values from the bank's start; a multiple of 64, so that it can be bound by itself. */
  offset: number;
  length: number;
}

const ALIGN = 64;
const ARRAYS = ['parameter', 'gradient', 'expAvg', 'expAvgSq'] as const;
type ArrayName = (typeof ARRAYS)[number];

/** Everything that training changes, with gradients and AdamW's two moments beside it, all f32. */
export class Parameters {
  readonly banks: Bank[] = [];
  private readonly slots = new Map<string, Slot>();
  private readonly storages: Record<ArrayName, Storage>[] = [];
  private readonly tensors = new Map<string, { parameter: Tensor; gradient: Tensor }>();

  /** `maxBankBytes`: the device's largest binding. */
  constructor(specs: readonly ParameterSpec[], maxBankBytes: number, memory: MemoryLedger) {
    const lengths = this.place(specs, Math.floor(maxBankBytes / 4 / ALIGN) * ALIGN);
    lengths.forEach((length, i) => {
      const storage = (name: ArrayName): Storage =>
        memory.declare(`${name} ${i}`, name === 'parameter' ? 'adapter' : 'optimizer', length * 4);
      const storages = Object.fromEntries(ARRAYS.map((name) => [name, storage(name)])) as Record<ArrayName, Storage>;
      this.storages.push(storages);
      const tensors = Object.fromEntries(ARRAYS.map((name) => [name, storages[name].tensor(`${name} ${i}`, [length])]));
      this.banks.push({ length, ...(tensors as Record<ArrayName, Tensor>) });
    });
    for (const slot of this.slots.values()) this.tensors.set(slot.spec.name, this.slotTensors(slot));
  }

  /** Number of trained values, padding not counted. */
  get count(): number {
    return [...this.slots.values()].reduce((sum, slot) => sum + slot.length, 0);
  }

  get specs(): ParameterSpec[] {
    return [...this.slots.values()].map(({ spec }) => spec);
  }

  /** The trained tensor of a name. */
  tensor(name: string): Tensor {
    return this.tensors.get(name)!.parameter;
  }

  /** Tells a graph which tensors are trained and where their gradients go. */
  attach(g: Graph): void {
    for (const { parameter, gradient } of this.tensors.values()) g.parameter(parameter, gradient);
  }

  /** Writes one parameter's values. */
  upload(gpu: Gpu, name: string, data: Float32Array): void {
    const slot = this.slots.get(name)!;
    gpu.device.queue.writeBuffer(this.storages[slot.bank]!.parameter.buffer, slot.offset * 4, data as Float32Array<ArrayBuffer>);
  }

  /** Sets one parameter to values that lie on the GPU already. */
  copy(gpu: Gpu, name: string, from: GPUBuffer): void {
    const slot = this.slots.get(name)!;
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(from, 0, this.storages[slot.bank]!.parameter.buffer, slot.offset * 4, slot.length * 4);
    gpu.device.queue.submit([encoder.finish()]);
    gpu.counters.submits++;
  }

  /** Reads every parameter back, by name. */
  async download(gpu: Gpu): Promise<Map<string, { shape: readonly number[]; data: Float32Array }>> {
    return this.split(gpu, 'parameter');
  }

  /** Reads every gradient back, by name. */
  async downloadGradients(gpu: Gpu): Promise<Map<string, { shape: readonly number[]; data: Float32Array }>> {
    return this.split(gpu, 'gradient');
  }

  /** All that a resumed run needs: parameters and moments, bank by bank, bit for bit. */
  async save(gpu: Gpu): Promise<Record<string, Float32Array>> {
    const saved: Record<string, Float32Array> = {};
    for (const [i, storages] of this.storages.entries()) {
      for (const name of ['parameter', 'expAvg', 'expAvgSq'] as const) {
        saved[`${name}.${i}`] = new Float32Array(await readBuffer(gpu, storages[name].buffer, 0, this.banks[i]!.length * 4));
      }
    }
    return saved;
  }

  /** The inverse of `save`. */
  restore(gpu: Gpu, saved: Record<string, Float32Array>): void {
    for (const [i, storages] of this.storages.entries()) {
      for (const name of ['parameter', 'expAvg', 'expAvgSq'] as const) {
        const array = saved[`${name}.${i}`];
        if (array?.length !== this.banks[i]!.length) {
          throw new Error(`The checkpoint's ${name}.${i} has ${array?.length ?? 0} values; this run has ${this.banks[i]!.length}.`);
        }
        gpu.device.queue.writeBuffer(storages[name].buffer, 0, array as Float32Array<ArrayBuffer>);
      }
    }
  }

  /** Cuts bank arrays of a checkpoint (`parameter.0`, …) into named parameters, without a GPU. */
  named(saved: Record<string, Float32Array>): Map<string, { shape: readonly number[]; data: Float32Array }> {
    const all = new Map<string, { shape: readonly number[]; data: Float32Array }>();
    for (const { spec, bank, offset, length } of this.slots.values()) {
      all.set(spec.name, { shape: spec.shape, data: saved[`parameter.${bank}`]!.slice(offset, offset + length) });
    }
    return all;
  }

  private async split(gpu: Gpu, array: ArrayName): Promise<Map<string, { shape: readonly number[]; data: Float32Array }>> {
    const saved: Record<string, Float32Array> = {};
    for (const [i, storages] of this.storages.entries()) {
      saved[`parameter.${i}`] = new Float32Array(await readBuffer(gpu, storages[array].buffer, 0, this.banks[i]!.length * 4));
    }
    return this.named(saved);
  }

  private place(specs: readonly ParameterSpec[], maxLength: number): number[] {
    const lengths: number[] = [];
    for (const spec of specs) {
      const length = spec.shape.reduce((product, n) => product * n, 1);
      const padded = Math.ceil(length / ALIGN) * ALIGN;
      if (lengths.length === 0 || lengths[lengths.length - 1]! + padded > maxLength) lengths.push(0);
      const bank = lengths.length - 1;
      this.slots.set(spec.name, { spec, bank, offset: lengths[bank]!, length });
      lengths[bank]! += padded;
    }
    return lengths;
  }

  private slotTensors({ spec, bank, offset, length }: Slot): { parameter: Tensor; gradient: Tensor } {
    const tensor = (array: 'parameter' | 'gradient'): Tensor =>
      externalTensor(`${array} ${spec.name}`, spec.shape as Shape, 'f32', this.storages[bank]![array].range(offset * 4, length * 4));
    return { parameter: tensor('parameter'), gradient: tensor('gradient') };
  }
}
