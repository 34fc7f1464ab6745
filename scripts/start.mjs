/**
 * `npm start`: installs what is missing, builds the studio, serves it and prints its address.
 * --port N (default 4173, or the next free one; a port given by hand is taken or refused), --no-build serves dist/ as it is.
 * HOST=0.0.0.0 shows it to other machines (browsers give WebGPU only to https and to localhost).
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { installPackages, requireNode, root } from './install.mjs';
import { serve } from './serve.mjs';

requireNode();
const { values } = parseArgs({ options: { port: { type: 'string' }, 'no-build': { type: 'boolean', default: false } } });
const port = values.port === undefined ? 4173 : Number(values.port);
if (!Number.isInteger(port) || port < 0 || port > 65535) {
  console.error(`--port ${values.port} is not a port; give a number from 0 to 65535.`);
  process.exit(2);
}

const dist = join(root, 'dist');
if (values['no-build']) {
  if (!existsSync(join(dist, 'index.html'))) {
    console.error('dist/ holds no build yet; run npm start without --no-build.');
    process.exit(1);
  }
} else {
  await installPackages();
  console.log('Building …');
  const { build } = await import('vite');
  await build({ root, logLevel: 'warn' });
}

const host = process.env.HOST ?? '127.0.0.1';
try {
  const server = await serve(dist, { host, port, strict: values.port !== undefined });
  const address = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  console.log(`Hone is at http://${address}:${server.address().port}/ (Ctrl+C stops it)`);
} catch (error) {
  console.error(`Hone could not be served on ${host}:${port} (${error.message}); choose another port with --port.`);
  process.exit(1);
}
