// Where the services are: `config.json`, served beside the app, so that one build fits every deployment.
import type { Fetch } from './api/client';

export interface Configuration {
  configServiceUrl: string;
}

export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

function isHttpUrl(value: unknown): value is string {
  return (
    typeof value === 'string' && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)
  );
}

export async function loadConfiguration(
  load: Fetch = (input, init) => fetch(input, init),
): Promise<Configuration> {
  let body: unknown;
  try {
    // From the root: a deep link is no folder. Without the cache: a deployment may have changed it.
    const response = await load('/config.json', { cache: 'no-cache' });
    if (!response.ok) {
      throw new ConfigurationError(`config.json was answered with status ${response.status}.`);
    }
    body = await response.json();
  } catch (error) {
    if (error instanceof ConfigurationError) {
      throw error;
    }
    // A missing file is answered with index.html, which is no JSON.
    throw new ConfigurationError('config.json is missing beside the app, or is not JSON.');
  }
  const url =
    typeof body === 'object' && body !== null && 'config_service_url' in body
      ? body.config_service_url
      : undefined;
  if (!isHttpUrl(url)) {
    throw new ConfigurationError('config.json has no address in "config_service_url".');
  }
  return { configServiceUrl: url };
}
