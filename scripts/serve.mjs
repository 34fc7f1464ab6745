/** A static file server on Node's built-ins: MIME types, byte ranges, nothing else. */
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';

const MIME = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.jsonl': 'application/x-ndjson; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
  '.wasm': 'application/wasm',
};

/**
 * The file below `folder` that a request names, or null: a path may not leave the folder.
 * @param {string} folder
 * @param {string} url
 */
function locate(folder, url) {
  let path;
  try {
    path = decodeURIComponent(new URL(url, 'http://localhost').pathname);
  } catch {
    return null;
  }
  if (path.includes('\0')) return null;
  const file = normalize(join(folder, path.endsWith('/') ? `${path}index.html` : path));
  if (!file.startsWith(folder + sep)) return null;
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat?.isFile() ? { file, stat } : null;
}

/**
 * First and last byte of a single `Range: bytes=…` header; null where there is none that can be served, 'outside' past the end.
 * @param {string | undefined} header
 * @param {number} size
 * @returns {{ start: number, end: number } | 'outside' | null}
 */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null;
  const start = match[1] === '' ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === '' || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  return start > end ? 'outside' : { start, end };
}

/** @param {string} folder */
function answer(folder, request, response) {
  const found = request.method === 'GET' || request.method === 'HEAD' ? locate(folder, request.url) : null;
  if (!found) {
    response.writeHead(request.method === 'GET' || request.method === 'HEAD' ? 404 : 405, { 'Content-Type': 'text/plain' });
    response.end('Not found');
    return;
  }
  const { file, stat } = found;
  const headers = {
    'Content-Type': MIME[extname(file).toLowerCase()] ?? 'application/octet-stream',
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'no-cache',
    'X-Content-Type-Options': 'nosniff',
  };
  const range = parseRange(request.headers.range, stat.size);
  if (range === 'outside') {
    response.writeHead(416, { ...headers, 'Content-Range': `bytes */${stat.size}` });
    response.end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: stat.size - 1 };
  headers['Content-Length'] = String(end - start + 1);
  if (range) headers['Content-Range'] = `bytes ${start}-${end}/${stat.size}`;
  response.writeHead(range ? 206 : 200, headers);
  if (request.method === 'HEAD' || stat.size === 0) response.end();
  else {
    createReadStream(file, { start, end })
      .on('error', () => response.destroy())
      .pipe(response);
  }
}

/**
 * Serves `folder` on `host`, at `port` or the next free one (`strict`: this one or an error).
 * @param {string} folder
 * @param {{ host: string, port: number, strict?: boolean }} options
 * @returns {Promise<import('node:http').Server>}
 */
export function serve(folder, { host, port, strict = false }) {
  return new Promise((resolve, reject) => {
    const server = createServer((request, response) => answer(folder, request, response));
    let next = port;
    server.on('error', (error) => {
      if (error.code !== 'EADDRINUSE' || strict || next >= port + 100) reject(error);
      else server.listen(++next, host);
    });
    server.on('listening', () => resolve(server));
    server.listen(next, host);
  });
}
