// Small HTTP servers on 127.0.0.1, with handlers as Workers have them.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CommandError } from '../deployment/context';

export type Handler = (request: Request) => Promise<Response> | Response;

export interface LocalServer {
  port: number;
  url: string;
  close: () => Promise<void>;
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request {
  const method = incoming.method ?? 'GET';
  const headers = new Headers();
  for (let index = 0; index + 1 < incoming.rawHeaders.length; index += 2) {
    headers.append(incoming.rawHeaders[index] ?? '', incoming.rawHeaders[index + 1] ?? '');
  }
  const host = headers.get('Host') ?? '127.0.0.1';
  const hasBody = method !== 'GET' && method !== 'HEAD';
  return new Request(new URL(incoming.url ?? '/', `http://${host}`), {
    method,
    headers,
    signal,
    ...(hasBody
      ? { body: Readable.toWeb(incoming) as ReadableStream<Uint8Array>, duplex: 'half' }
      : {}),
  } as RequestInit);
}

async function answer(
  handler: Handler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const abort = new AbortController();
  outgoing.on('close', () => abort.abort());
  try {
    const response = await handler(requestOf(incoming, abort.signal));
    outgoing.writeHead(response.status, [...response.headers].flat());
    if (response.body === null || incoming.method === 'HEAD') {
      outgoing.end();
      return;
    }
    await pipeline(Readable.fromWeb(response.body as never), outgoing);
  } catch {
    // A handler that rejects stands for a connection that breaks.
    outgoing.destroy();
  }
}

/** `port` 0 takes any that is free. */
export async function serve(handler: Handler, port: number): Promise<LocalServer> {
  const server: Server = createServer((incoming, outgoing) => {
    void answer(handler, incoming, outgoing);
  });
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new CommandError(
      `127.0.0.1:${port} cannot be used: ${error instanceof Error ? error.message : ''}`,
    );
  }
  const address = server.address() as AddressInfo;
  return {
    port: address.port,
    url: `http://127.0.0.1:${address.port}`,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
