// Where the bytes of an image come from. A stream whose length is known is passed through; one of unknown length is
// collected, since R2 wants to know it.
import { IMAGE_BYTES_MAX, StorageError } from './types';

export interface Source {
  /** The whole content, from the first byte; it can be started once. */
  start: () => ReadableStream | ArrayBuffer;
  /** What went wrong with it since, if anything did. */
  failure: () => StorageError | null;
  /** Lets go of what has not been read. */
  close: () => Promise<void>;
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

async function readChunk(reader: Reader): Promise<Uint8Array | null> {
  try {
    const { done, value } = await reader.read();
    return done ? null : value;
  } catch (error) {
    throw new StorageError('source_failed', { cause: error });
  }
}

function assertSize(sizeBytes: number): void {
  if (sizeBytes === 0) {
    throw new StorageError('empty');
  }
  if (sizeBytes > IMAGE_BYTES_MAX) {
    throw new StorageError('too_large');
  }
}

/** Reads to the end, or until it is too much. */
async function collect(reader: Reader): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (size <= IMAGE_BYTES_MAX) {
    const chunk = await readChunk(reader);
    if (chunk === null) {
      break;
    }
    chunks.push(chunk);
    size += chunk.byteLength;
  }
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}

function sourceOfBuffer(buffer: ArrayBuffer): Source {
  assertSize(buffer.byteLength);
  return {
    start: () => buffer,
    failure: () => null,
    close: () => Promise.resolve(),
  };
}

/**
 * Each chunk waits until the next one is there, the last one until it is known to be the last: with it the image is
 * complete, and would be stored before there turns out to be more.
 */
async function pump(
  reader: Reader,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  sizeBytes: number,
): Promise<void> {
  let read = 0;
  let waiting: Uint8Array | null = null;
  for (;;) {
    const next = await readChunk(reader);
    read += next?.byteLength ?? 0;
    if (read > sizeBytes || (next === null && read < sizeBytes)) {
      throw new StorageError('source_failed', {
        cause: new Error('the length is not the one that was announced'),
      });
    }
    if (waiting !== null) {
      await writer.write(waiting);
    }
    if (next === null) {
      break;
    }
    waiting = next;
  }
  await writer.close();
}

function sourceOfStream(reader: Reader, sizeBytes: number): Source {
  const { readable, writable } = new FixedLengthStream(sizeBytes);
  let failure: StorageError | null = null;
  return {
    start() {
      const writer = writable.getWriter();
      pump(reader, writer, sizeBytes).catch(async (error: unknown) => {
        // Any other error is that of the reading end, which tells it itself.
        failure = error instanceof StorageError ? error : null;
        // Whoever reads must not take what has arrived for the whole.
        await writer.abort(error).catch(() => undefined);
      });
      return readable;
    },
    failure: () => failure,
    async close() {
      // Either may be at its end already, or in the hands of whoever failed to read it.
      await Promise.allSettled([reader.cancel(), readable.cancel()]);
    },
  };
}

export async function openSource(
  imageData: ArrayBuffer | ReadableStream<Uint8Array>,
  /** As far as its source has told. */
  sizeBytes: number | undefined,
): Promise<Source> {
  if (imageData instanceof ArrayBuffer) {
    return sourceOfBuffer(imageData);
  }
  const reader = imageData.getReader();
  try {
    if (sizeBytes !== undefined) {
      assertSize(sizeBytes);
      return sourceOfStream(reader, sizeBytes);
    }
    const content = await collect(reader);
    assertSize(content.byteLength);
    await reader.cancel();
    return sourceOfBuffer(content.buffer);
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    throw error;
  }
}
