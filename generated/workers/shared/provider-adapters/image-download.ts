// The image behind a provider's link: whether it is one, how large it is, and its bytes, passed on as they come.
import { bounded, type CallContext, failure, inTime, type SizeLimit } from './http';
import { readDimensions, SHORT_HEAD_BYTES } from './image-dimensions';
import type { ProviderImage } from './types';

/** `image/png` for `Image/PNG; charset=binary`; null for anything but an image. */
function imageTypeOf(header: string | null): string | null {
  const type = (header ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  return /^image\/[a-z0-9]/.test(type) ? type : null;
}

/** The length of what is sent, which is not that of the image if it was compressed on the way. */
function announcedBytes(headers: Headers): number | null {
  const length = headers.has('Content-Encoding') ? null : headers.get('Content-Length');
  return length !== null && /^\d+$/.test(length) ? Number(length) : null;
}

function join(pieces: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

/** Reads as far as the image says how large it is, which a JPEG may do late. */
async function measure(
  context: CallContext,
  reader: ReadableStreamDefaultReader<Uint8Array>,
  { maxBytes, tooLarge }: SizeLimit,
): Promise<{ head: Uint8Array; dimensions: string }> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (let enough = SHORT_HEAD_BYTES; ; ) {
    const { done, value } = await inTime(context, () => reader.read());
    if (value !== undefined) {
      pieces.push(value);
      size += value.length;
    }
    if (size > maxBytes) {
      throw tooLarge();
    }
    if (done || size >= enough) {
      const head = join(pieces, size);
      const reading = readDimensions(head);
      if (reading.kind === 'known') {
        return { head, dimensions: reading.dimensions };
      }
      if (done || reading.kind === 'unknown') {
        const message = 'neither the provider nor the image says how large it is';
        throw failure(context, { kind: 'not_an_image', message });
      }
      pieces.splice(0, Infinity, head);
      // Twice as much each time, so that all the looks together cost no more than two at the whole.
      enough = 2 * size;
    }
  }
}

/**
 * Whether it is an image goes by its `Content-Type`. Where the provider has not said its `dimensions`, they are read from its
 * beginning. The body fails when the image is too large, too slow, or breaks off.
 */
export async function receiveImage(
  context: CallContext,
  { headers, body }: { headers: Headers; body: ReadableStream<Uint8Array> },
  { maxBytes, dimensions }: { maxBytes: number; dimensions: string | null },
): Promise<ProviderImage> {
  const limit: SizeLimit = {
    maxBytes,
    tooLarge: () =>
      failure(context, {
        kind: 'image_too_large',
        message: `the image has more than ${maxBytes} bytes`,
      }),
  };
  const reader = body.getReader();
  try {
    const contentType = imageTypeOf(headers.get('Content-Type'));
    const sizeBytes = announcedBytes(headers);
    if (contentType === null) {
      const message = 'what the link leads to is no image';
      throw failure(context, { kind: 'not_an_image', message });
    }
    if (sizeBytes !== null && sizeBytes > maxBytes) {
      throw limit.tooLarge();
    }
    const measured =
      dimensions === null
        ? await measure(context, reader, limit)
        : { head: new Uint8Array(), dimensions };
    reader.releaseLock();
    return {
      body: bounded(context, body, limit, measured.head),
      contentType,
      sizeBytes,
      dimensions: measured.dimensions,
    };
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
}
