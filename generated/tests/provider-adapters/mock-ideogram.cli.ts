// Serves the mock Ideogram on 127.0.0.1: for a local system, and for tests that need a real connection.
//
//   npx tsx tests/provider-adapters/mock-ideogram.cli.ts [port]      prints its address; without a port it takes a free one
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { MockIdeogram, type MockIdeogramOptions } from './mock-ideogram';

const HOST = '127.0.0.1';

export interface MockServer {
  /** The base URL of the API, and where its links to images lead. */
  origin: string;
  mock: MockIdeogram;
  close: () => Promise<void>;
}

function requestOf(message: IncomingMessage, origin: string, signal: AbortSignal): Request {
  const { method = 'GET' } = message;
  const headers = new Headers();
  for (const [name, values] of Object.entries(message.headersDistinct)) {
    for (const value of values ?? []) {
      headers.append(name, value);
    }
  }
  const init: RequestInit & { duplex?: 'half' } = { method, headers, signal };
  if (method !== 'GET' && method !== 'HEAD') {
    init.body = Readable.toWeb(message) as unknown as ReadableStream<Uint8Array>;
    init.duplex = 'half';
  }
  return new Request(new URL(message.url ?? '/', origin), init);
}

async function answer(
  mock: MockIdeogram,
  origin: string,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  try {
    const answered = await mock.fetch(requestOf(message, origin, gone.signal));
    response.writeHead(answered.status, mock.rawHeaders(answered).flat());
    if (answered.body === null) {
      response.end();
      return;
    }
    response.flushHeaders();
    const body = answered.body as unknown as Parameters<typeof Readable.fromWeb>[0];
    await pipeline(Readable.fromWeb(body), response);
  } catch {
    // What the mock means by it: no answer, or one that breaks off.
    message.socket.destroy();
  }
}

export async function serveMockIdeogram(
  options: MockIdeogramOptions & { port?: number } = {},
): Promise<MockServer> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, HOST, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const origin = `http://${HOST}:${port}`;
  const mock = new MockIdeogram({ imageOrigin: origin, ...options });
  server.on('request', (message, response) => {
    void answer(mock, origin, message, response);
  });
  return {
    origin,
    mock,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { origin } = await serveMockIdeogram({ port: Number(process.argv[2] ?? 0) });
  console.log(origin);
}
