import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

export default defineConfig({
  // Relative addresses: the built site works from any folder of any static host.
  base: './',
  plugins: [svelte()],
  worker: { format: 'es' },
  // The page carries the worker inside itself, shaders and all.
  build: { target: 'es2023', sourcemap: true, chunkSizeWarningLimit: 2000 },
});
