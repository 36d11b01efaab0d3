// What each family of Ideogram's API accepts, field by field. Anything else is refused, as the service does.
import * as v from 'valibot';

export type FamilyName = 'legacy' | 'v3' | 'v4' | 'v4-async' | 'v4.5';

/** What the mock needs to know of a request, whichever family it came through. */
export interface GenerationOrder {
  family: FamilyName;
  prompt: string;
  images: number;
  seed: number | null;
  resolution: string;
  async: boolean;
}

export interface Family {
  name: FamilyName;
  contentType: 'application/json' | 'multipart/form-data';
  read: (body: unknown) => GenerationOrder;
}

const RATIOS = [
  ['1', '1'],
  ['1', '2'],
  ['1', '3'],
  ['10', '16'],
  ['16', '10'],
  ['16', '9'],
  ['2', '1'],
  ['2', '3'],
  ['3', '1'],
  ['3', '2'],
  ['3', '4'],
  ['4', '3'],
  ['4', '5'],
  ['5', '4'],
  ['9', '16'],
];
const MAX_SEED = 2_147_483_647;

const Prompt = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(10_000));
const Ratio = v.picklist(RATIOS.map((ratio) => ratio.join('x')));
const LegacyRatio = v.picklist(RATIOS.map((ratio) => `ASPECT_${ratio.join('_')}`));
const Resolution = v.pipe(v.string(), v.regex(/^[1-9]\d{2,3}x[1-9]\d{2,3}$/));
const LegacyResolution = v.pipe(v.string(), v.regex(/^RESOLUTION_\d{3,4}_\d{3,4}$/));
const Switch = v.picklist(['AUTO', 'ON', 'OFF']);
const Seed = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_SEED));
const Images = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(8));

/** A form has only text: a number in it is digits. */
const inForm = <Schema extends v.GenericSchema<number, number>>(schema: Schema) =>
  v.pipe(v.string(), v.regex(/^\d{1,10}$/), v.transform(Number), schema);

const Legacy = v.strictObject({
  image_request: v.strictObject({
    prompt: Prompt,
    model: v.exactOptional(v.picklist(['V_1', 'V_1_TURBO', 'V_2', 'V_2_TURBO', 'V_2A'])),
    aspect_ratio: v.exactOptional(LegacyRatio),
    resolution: v.exactOptional(LegacyResolution),
    magic_prompt_option: v.exactOptional(Switch),
    negative_prompt: v.exactOptional(v.string()),
    num_images: v.exactOptional(Images),
    seed: v.exactOptional(Seed),
    style_type: v.exactOptional(
      v.picklist(['AUTO', 'GENERAL', 'REALISTIC', 'DESIGN', 'RENDER_3D', 'ANIME']),
    ),
  }),
});

const V3 = v.strictObject({
  prompt: Prompt,
  seed: v.exactOptional(inForm(Seed)),
  resolution: v.exactOptional(Resolution),
  aspect_ratio: v.exactOptional(Ratio),
  rendering_speed: v.exactOptional(v.picklist(['FLASH', 'TURBO', 'DEFAULT', 'QUALITY'])),
  magic_prompt: v.exactOptional(Switch),
  negative_prompt: v.exactOptional(v.string()),
  num_images: v.exactOptional(inForm(Images)),
  style_type: v.exactOptional(v.picklist(['AUTO', 'GENERAL', 'REALISTIC', 'DESIGN', 'FICTION'])),
});

const V4 = v.strictObject({
  text_prompt: v.exactOptional(Prompt),
  json_prompt: v.exactOptional(
    v.pipe(v.string(), v.parseJson(), v.record(v.string(), v.unknown())),
  ),
  resolution: v.exactOptional(Resolution),
  rendering_speed: v.exactOptional(v.picklist(['TURBO', 'DEFAULT', 'QUALITY'])),
});

const V45 = v.strictObject({
  prompt: Prompt,
  async: v.exactOptional(v.boolean()),
  webhook_url: v.exactOptional(v.pipe(v.string(), v.url(), v.startsWith('https://'))),
  seed: v.exactOptional(Seed),
  aspect_ratio: v.exactOptional(Ratio),
  resolution: v.exactOptional(Resolution),
  num_images: v.exactOptional(Images),
});

/** Wrong in itself, or together with another field. Its message is part of the answer. */
export class RefusedField extends Error {}

function parse<Schema extends v.GenericSchema>(schema: Schema, body: unknown) {
  const result = v.safeParse(schema, body);
  if (!result.success) {
    const [issue] = result.issues;
    throw new RefusedField(`${v.getDotPath(issue) ?? 'the body'}: ${issue.message}`);
  }
  return result.output;
}

/** The mock draws in small: the shape of the ratio, on a scale that makes the longer side 1024. */
function resolutionOf(ratio: string | undefined, resolution: string | undefined): string {
  if (ratio && resolution) {
    throw new RefusedField('aspect_ratio cannot be used together with resolution');
  }
  const [width = 1, height = 1] = (resolution ?? ratio ?? '1x1').match(/\d+/g)?.map(Number) ?? [];
  if (resolution) {
    return `${width}x${height}`;
  }
  const scale = 1024 / Math.max(width, height);
  return `${Math.round(width * scale)}x${Math.round(height * scale)}`;
}

function readV4(body: unknown, async: boolean): GenerationOrder {
  const form = parse(V4, body);
  if ((form.text_prompt === undefined) === (form.json_prompt === undefined)) {
    throw new RefusedField('exactly one of text_prompt and json_prompt is required');
  }
  return {
    family: async ? 'v4-async' : 'v4',
    prompt: form.text_prompt ?? JSON.stringify(form.json_prompt),
    images: 1,
    seed: null,
    resolution: resolutionOf(undefined, form.resolution),
    async,
  };
}

export const FAMILIES: Readonly<Record<string, Family>> = {
  '/generate': {
    name: 'legacy',
    contentType: 'application/json',
    read: (body) => {
      const { image_request: order } = parse(Legacy, body);
      return {
        family: 'legacy',
        prompt: order.prompt,
        images: order.num_images ?? 1,
        seed: order.seed ?? null,
        resolution: resolutionOf(order.aspect_ratio, order.resolution),
        async: false,
      };
    },
  },
  '/v1/ideogram-v3/generate': {
    name: 'v3',
    contentType: 'multipart/form-data',
    read: (body) => {
      const form = parse(V3, body);
      return {
        family: 'v3',
        prompt: form.prompt,
        images: form.num_images ?? 1,
        seed: form.seed ?? null,
        resolution: resolutionOf(form.aspect_ratio, form.resolution),
        async: false,
      };
    },
  },
  '/v1/ideogram-v4/generate': {
    name: 'v4',
    contentType: 'multipart/form-data',
    read: (body) => readV4(body, false),
  },
  '/v1/ideogram-v4/async/generate': {
    name: 'v4-async',
    contentType: 'multipart/form-data',
    read: (body) => readV4(body, true),
  },
  '/v2/image/generate/ideogram-4-5': {
    name: 'v4.5',
    contentType: 'application/json',
    read: (body) => {
      const order = parse(V45, body);
      return {
        family: 'v4.5',
        prompt: order.prompt,
        images: order.num_images ?? 1,
        seed: order.seed ?? null,
        resolution: resolutionOf(order.aspect_ratio, order.resolution),
        async: order.async === true || order.webhook_url !== undefined,
      };
    },
  },
};
