import { defineConfig } from 'vite';

/**
 * The `hone` command as one file for Node. npm packages stay outside and are resolved from node_modules;
 * the project's own modules and shaders (`?raw`) go inside.
 */
export default defineConfig({
  publicDir: false,
  build: {
    ssr: 'src/cli/main.ts',
    target: 'node20',
    sourcemap: true,
    minify: false,
    emptyOutDir: true,
    rolldownOptions: { output: { entryFileNames: 'main.js', codeSplitting: false } },
  },
  logLevel: 'warn',
});
