import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseRange, serve } from '../../scripts/serve.mjs';

const folder = mkdtempSync(join(tmpdir(), 'hone-serve-'));
const site = join(folder, 'site');
let server: Server;

beforeAll(async () => {
  mkdirSync(site);
  writeFileSync(join(folder, 'secret.txt'), 'secret');
  writeFileSync(join(site, 'index.html'), '<p>hello</p>');
  writeFileSync(join(site, 'a.wasm'), '0123456789');
  server = await serve(site, { host: '127.0.0.1', port: 0 });
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

/** Sends the path as it is: fetch would tidy `..` away first. */
function get(path: string, headers: Record<string, string> = {}): Promise<{ response: IncomingMessage; body: string }> {
  const { port } = server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, headers }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.on('end', () => resolve({ response, body }));
    })
      .on('error', reject)
      .end();
  });
}

it('answers a folder with its index and a file with its MIME type', async () => {
  expect((await get('/')).body).toBe('<p>hello</p>');
  expect((await get('/a.wasm')).response.headers['content-type']).toBe('application/wasm');
});

it('serves a byte range and refuses one past the end', async () => {
  const part = await get('/a.wasm', { Range: 'bytes=2-4' });
  expect([part.response.statusCode, part.body, part.response.headers['content-range']]).toEqual([206, '234', 'bytes 2-4/10']);
  expect((await get('/a.wasm', { Range: 'bytes=10-' })).response.statusCode).toBe(416);
});

it('never leaves its folder', async () => {
  for (const path of ['/../secret.txt', '/%2e%2e/secret.txt', '/..%2fsecret.txt', '/%00', '/%', '/nothing']) {
    expect((await get(path)).response.statusCode, path).toBe(404);
  }
});

it('takes the next free port, unless it must have the one it was given', async () => {
  const { port } = server.address() as AddressInfo;
  const second = await serve(site, { host: '127.0.0.1', port });
  expect((second.address() as AddressInfo).port).toBeGreaterThan(port);
  second.close();
  await expect(serve(site, { host: '127.0.0.1', port, strict: true })).rejects.toThrow('EADDRINUSE');
});

it('reads ranges from the start, to the end, and from the end', () => {
  expect(parseRange('bytes=3-', 10)).toEqual({ start: 3, end: 9 });
  expect(parseRange('bytes=-4', 10)).toEqual({ start: 6, end: 9 });
  expect(parseRange('bytes=0-99', 10)).toEqual({ start: 0, end: 9 });
  expect(parseRange('bytes=-', 10)).toBeNull();
  expect(parseRange(undefined, 10)).toBeNull();
});
