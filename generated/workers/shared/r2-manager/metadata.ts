// What is kept with an image in R2's custom metadata, within R2's bound of 2 KB for all names and values together.
import { StorageError } from './types';

export const METADATA_BYTES_MAX = 2048;

/** The metadata of an image as it is read back; null for what was not stored with it. */
export interface ImageMetadata {
  instance_id: string | null;
  project_id: string | null;
  provider: string | null;
  model: string | null;
  /** Perhaps cut short. */
  prompt: string | null;
  /** ISO 8601. */
  generation_timestamp: string | null;
}

const encoder = new TextEncoder();

function bytesOf(text: string): number {
  return encoder.encode(text).byteLength;
}

/** As much of `text` as fits into so many bytes of UTF-8, without splitting what a reader sees as one character. */
export function truncateToBytes(text: string, bytesMax: number): string {
  if (bytesOf(text) <= bytesMax) {
    return text;
  }
  let used = 0;
  let end = 0;
  for (const { segment, index } of new Intl.Segmenter('en').segment(text)) {
    used += bytesOf(segment);
    if (used > bytesMax) {
      break;
    }
    end = index + segment.length;
  }
  return text.slice(0, end);
}

/** Halves of surrogate pairs have no form in UTF-8. */
function wellFormed(value: string): string {
  return value.replaceAll(/\p{Surrogate}/gu, '\uFFFD');
}

/** The custom metadata of an object. Only the prompt is cut; if the rest alone is too large, that is an error. */
export function customMetadataOf(
  fields: Readonly<Record<string, string | null | undefined>>,
): Record<string, string> {
  const { prompt, ...others } = fields;
  const metadata: Record<string, string> = {};
  let used = 0;
  for (const [name, value] of Object.entries(others)) {
    if (value !== null && value !== undefined) {
      metadata[name] = wellFormed(value);
      used += bytesOf(name) + bytesOf(metadata[name]);
    }
  }
  if (used > METADATA_BYTES_MAX) {
    throw new StorageError('invalid_metadata');
  }
  const room = METADATA_BYTES_MAX - used - 'prompt'.length;
  if (prompt !== null && prompt !== undefined && room > 0) {
    metadata.prompt = truncateToBytes(wellFormed(prompt), room);
  }
  return metadata;
}

/** The metadata that was stored with an object. */
export function readImageMetadata(object: Pick<R2Object, 'customMetadata'>): ImageMetadata {
  const stored = object.customMetadata ?? {};
  return {
    instance_id: stored.instance_id ?? null,
    project_id: stored.project_id ?? null,
    provider: stored.provider ?? null,
    model: stored.model ?? null,
    prompt: stored.prompt ?? null,
    generation_timestamp: stored.generation_timestamp ?? null,
  };
}
