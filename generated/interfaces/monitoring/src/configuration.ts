// Where the Config Service is: `config.json`, served beside the app, so that one build fits every deployment.

export interface Configuration {
  /** Without a slash at its end. */
  configServiceUrl: string;
}

export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

const isHttpUrl = (value: unknown): value is string =>
  typeof value === 'string' &&
  URL.canParse(value) &&
  ['http:', 'https:'].includes(new URL(value).protocol);

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
  const url =
    typeof value === 'object' && value !== null && 'config_service_url' in value
      ? value.config_service_url
      : undefined;
  if (!isHttpUrl(url)) {
    throw new ConfigurationError('config.json has no http(s) address in "config_service_url".');
  }
  return { configServiceUrl: url.replace(/\/+$/, '') };
}
