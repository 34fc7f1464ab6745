/** jax-js as a peer: the same products, f32, on a device of its own. */

// jax-js uses iterator helpers, which Node 20 lacks.
const iterators = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
const helpers = {
  *map(f) {
    let i = 0;
    for (const value of this) yield f(value, i++);
  },
  *filter(f) {
    let i = 0;
    for (const value of this) if (f(value, i++)) yield value;
  },
  toArray() {
    return [...this];
  },
  some(f) {
    for (const value of this) if (f(value)) return true;
    return false;
  },
  every(f) {
    for (const value of this) if (!f(value)) return false;
    return true;
  },
};
for (const [name, value] of Object.entries(helpers)) {
  if (!iterators[name]) Object.defineProperty(iterators, name, { value, configurable: true, writable: true });
}

/** Starts jax-js on a WebGPU entry point. `nt` is a·bᵀ and `nn` a·b; both only enqueue. */
export async function jaxPeer(gpu) {
  if (!globalThis.navigator?.gpu) {
    Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: 'node', platform: process.platform }, configurable: true, writable: true });
  }
  const jax = await import('@jax-js/jax');
  if (!(await jax.init()).includes('webgpu')) throw new Error('jax-js finds no WebGPU device.');
  jax.defaultDevice('webgpu');
  const { numpy } = jax;
  return {
    name: 'jax-js 0.1.25',
    matrix: (values, rows, columns) => numpy.array(values).reshape([rows, columns]),
    nt: (a, b) => numpy.matmul(a.ref, b.ref.transpose()),
    nn: (a, b) => numpy.matmul(a.ref, b.ref),
    done: (result) => jax.blockUntilReady(result.ref),
    read: (result) => result.ref.data(),
    free: (result) => result.dispose(),
  };
}
