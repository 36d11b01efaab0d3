// Where the Workers are: `config.json`, served beside the page, so that one build fits every deployment.
import { isHttpUrl, isRecord } from './values';

export interface Worker {
  instanceId: string;
  /** Without a slash at its end. */
  url: string;
}

export interface Configuration {
  workers: Worker[];
  models: string[];
}

export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

function workersOf(value: unknown): Worker[] {
  if (!isRecord(value) || Object.keys(value).length === 0) {
    throw new ConfigurationError('config.json names no Worker in "image_worker_urls".');
  }
  return Object.entries(value).map(([instanceId, url]) => {
    if (!isHttpUrl(url)) {
      throw new ConfigurationError(`config.json has no http(s) address for "${instanceId}".`);
    }
    return { instanceId, url: url.replace(/\/+$/, '') };
  });
}

function modelsOf(value: unknown): string[] {
  if (value === undefined) {
    return [];
  }
  if (!Array.isArray(value) || !value.every((model) => typeof model === 'string')) {
    throw new ConfigurationError('config.json has "models" that are no list of names.');
  }
  return value;
}

export function readConfiguration(value: unknown): Configuration {
  const fields = isRecord(value) ? value : {};
  return { workers: workersOf(fields.image_worker_urls), models: modelsOf(fields.models) };
}

export async function loadConfiguration(load: typeof fetch): Promise<Configuration> {
  let value: unknown;
  try {
    // Past the cache: a deployment may have changed it.
    const response = await load('/config.json', { cache: 'no-cache' });
    if (!response.ok) {
      throw new ConfigurationError(`config.json was answered with status ${response.status}.`);
    }
    value = await response.json();
  } catch (error) {
    if (error instanceof ConfigurationError) {
      throw error;
    }
    throw new ConfigurationError('config.json is missing beside this page, or is no JSON.');
  }
  return readConfiguration(value);
}
