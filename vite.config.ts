import { svelte } from '@sveltejs/vite-plugin-svelte';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const noOnnx = fileURLToPath(new URL('src/data/no-onnxruntime.ts', import.meta.url));

export default defineConfig({
  // Relative addresses: the built site works from any folder of any static host.
  base: './',
  plugins: [svelte()],
  resolve: {
    // transformers.js is here for its tokenizers and templates. It also imports onnxruntime-web, whose 27 MB .wasm would land
    // in dist/ although nothing ever opens a session: a small module with the few names that are read at load stands in for it.
    alias: [
      { find: /^onnxruntime-web(\/.*)?$/, replacement: noOnnx },
      { find: /^onnxruntime-common$/, replacement: noOnnx },
    ],
  },
  worker: { format: 'es' },
  build: { target: 'es2023', sourcemap: true },
});
