// Tells what an image is by its first bytes: what its source says about it is not relied upon.

export interface ImageFormat {
  contentType: string;
  extension: string;
}

/** So many bytes tell every known format. */
export const SIGNATURE_BYTES = 12;

interface Signature extends ImageFormat {
  /** Text as Latin-1 characters, at these offsets. */
  marks: readonly (readonly [offset: number, text: string])[];
}

const SIGNATURES: readonly Signature[] = [
  { contentType: 'image/png', extension: 'png', marks: [[0, '\x89PNG\r\n\x1a\n']] },
  { contentType: 'image/jpeg', extension: 'jpg', marks: [[0, '\xff\xd8\xff']] },
  { contentType: 'image/gif', extension: 'gif', marks: [[0, 'GIF87a']] },
  { contentType: 'image/gif', extension: 'gif', marks: [[0, 'GIF89a']] },
  {
    contentType: 'image/webp',
    extension: 'webp',
    marks: [
      [0, 'RIFF'],
      [8, 'WEBP'],
    ],
  },
  { contentType: 'image/avif', extension: 'avif', marks: [[4, 'ftypavif']] },
];

/** The formats that may be served. SVG is none of them: it can hold scripts. */
export function isImageType(contentType: string | undefined): boolean {
  return SIGNATURES.some((signature) => signature.contentType === contentType);
}

export function formatOf(start: Uint8Array): ImageFormat | null {
  const text = String.fromCharCode(...start.subarray(0, SIGNATURE_BYTES));
  const found = SIGNATURES.find(({ marks }) =>
    marks.every(([offset, mark]) => text.startsWith(mark, offset)),
  );
  return found === undefined
    ? null
    : { contentType: found.contentType, extension: found.extension };
}
