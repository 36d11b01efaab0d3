// The families of Ideogram's API: which path a model has, how its request looks, and where its jobs are asked for.
import type { AspectRatio, GenerationOptions, Json, ProviderRequest } from './types';

/** What Ideogram takes beyond what every provider does. */
export interface IdeogramOptions extends GenerationOptions {
  renderingSpeed?: 'FLASH' | 'TURBO' | 'DEFAULT' | 'QUALITY' | undefined;
  /** Whether Ideogram may improve the prompt. */
  magicPrompt?: 'AUTO' | 'ON' | 'OFF' | undefined;
  styleType?: 'AUTO' | 'GENERAL' | 'REALISTIC' | 'DESIGN' | undefined;
}

export type OptionName = Exclude<keyof IdeogramOptions, 'model'>;

export interface IdeogramModel {
  path: string;
  /** The options that the model heeds. */
  options: readonly OptionName[];
  /** Where a job's status is, if the model answers with a job. */
  pollPath?: string;
  /** For `usage_logs`, where the answer itself does not say what it cost. In USD micros for one image. */
  listPrice: number;
  body: (prompt: string, options: IdeogramOptions) => ProviderRequest['body'];
}

/** Without what is undefined: a missing field has the provider's default, and an undefined one is no JSON. */
function present<Value>(fields: Readonly<Record<string, Value | undefined>>) {
  return Object.fromEntries(
    Object.entries(fields).filter((entry): entry is [string, Value] => entry[1] !== undefined),
  );
}

const json = (fields: Readonly<Record<string, Json | undefined>>): ProviderRequest['body'] => ({
  kind: 'json',
  value: present(fields),
});

/** A form has only text. */
const form = (
  fields: Readonly<Record<string, string | number | undefined>>,
): ProviderRequest['body'] => ({
  kind: 'form',
  fields: Object.fromEntries(
    Object.entries(present(fields)).map(([name, value]) => [name, String(value)]),
  ),
});

/** 4.0 knows no ratios, only these sizes. */
const SIZES_OF_V4: Readonly<Record<AspectRatio, string>> = {
  '1:1': '2048x2048',
  '16:9': '2560x1440',
  '9:16': '1440x2560',
  '4:3': '2304x1728',
  '3:4': '1728x2304',
  '3:2': '2496x1664',
  '2:3': '1664x2496',
};

export const DEFAULT_IDEOGRAM_MODEL = 'ideogram-4-5';

export const IDEOGRAM_MODELS: Readonly<Record<string, IdeogramModel>> = {
  [DEFAULT_IDEOGRAM_MODEL]: {
    path: '/v2/image/generate/ideogram-4-5',
    options: ['aspectRatio', 'seed'],
    pollPath: '/v2/generations/',
    listPrice: 60_000,
    body: (prompt, options) =>
      json({
        prompt,
        // So that the job outlives the request that began it.
        async: true,
        aspect_ratio: options.aspectRatio?.replace(':', 'x'),
        seed: options.seed,
      }),
  },
  'ideogram-v4': {
    path: '/v1/ideogram-v4/async/generate',
    options: ['aspectRatio', 'renderingSpeed'],
    pollPath: '/v1/generations/',
    listPrice: 60_000,
    body: (prompt, options) =>
      form({
        text_prompt: prompt,
        resolution: options.aspectRatio && SIZES_OF_V4[options.aspectRatio],
        rendering_speed: options.renderingSpeed,
      }),
  },
  'ideogram-v3': {
    path: '/v1/ideogram-v3/generate',
    options: [
      'aspectRatio',
      'seed',
      'negativePrompt',
      'renderingSpeed',
      'magicPrompt',
      'styleType',
    ],
    listPrice: 60_000,
    body: (prompt, options) =>
      form({
        prompt,
        aspect_ratio: options.aspectRatio?.replace(':', 'x'),
        seed: options.seed,
        negative_prompt: options.negativePrompt,
        rendering_speed: options.renderingSpeed,
        magic_prompt: options.magicPrompt,
        style_type: options.styleType,
      }),
  },
  'ideogram-v2': {
    path: '/generate',
    options: ['aspectRatio', 'seed', 'negativePrompt', 'magicPrompt', 'styleType'],
    listPrice: 80_000,
    body: (prompt, options) =>
      json({
        image_request: present<Json>({
          prompt,
          model: 'V_2',
          aspect_ratio: options.aspectRatio && `ASPECT_${options.aspectRatio.replace(':', '_')}`,
          seed: options.seed,
          negative_prompt: options.negativePrompt,
          magic_prompt_option: options.magicPrompt,
          style_type: options.styleType,
        }),
      }),
  },
};
