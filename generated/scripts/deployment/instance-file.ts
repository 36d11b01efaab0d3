// The configuration file of an instance: what it may say, checked as a whole before anything is called, and with the
// provider keys read from the environment.
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { IDENTIFIER } from '@/infrastructure/config-service/http/router';
import { ConfigChange, NewConfig } from '@/infrastructure/config-service/instance-config';
import { type CommandContext, CommandError } from './context';

const FROM_ENVIRONMENT = /^env:([A-Za-z_][A-Za-z0-9_]*)$/;
const Identifier = v.pipe(v.string(), v.regex(IDENTIFIER, 'must be an identifier'));
const Name = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(100));

const Head = {
  instance_id: Identifier,
  org_id: Identifier,
  name: v.optional(Name),
  /** Lets the first deployment of a new system make the organisation. */
  organization: v.optional(
    v.strictObject({
      name: Name,
      billing_email: v.pipe(v.string(), v.regex(/^[^\s@]+@[^\s@]+\.[^\s@]+$/, 'must be an email')),
    }),
  ),
};

const NewInstanceFile = v.strictObject({ ...Head, ...NewConfig.entries });
const InstanceChangeFile = v.strictObject({ ...Head, ...ConfigChange.entries });

export interface InstanceFile {
  instanceId: string;
  orgId: string;
  /** Null if the file gives none. */
  name: string | null;
  organization: { name: string; billing_email: string } | null;
  /** Null removes an entry; only an update has that. */
  config: ConfigChange;
}

export interface ReadInstanceFile {
  file: InstanceFile;
  warnings: string[];
  /** The provider keys, which must not be printed. */
  secrets: string[];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `content` with the values that `env:NAME` stands for. */
function resolveKeys(
  content: Record<string, unknown>,
  environment: CommandContext['environment'],
): {
  resolved: Record<string, unknown>;
  mistakes: string[];
  warnings: string[];
  secrets: string[];
} {
  const mistakes: string[] = [];
  const warnings: string[] = [];
  const secrets: string[] = [];
  if (!isRecord(content.api_keys)) {
    return { resolved: content, mistakes, warnings, secrets };
  }
  const keys: Record<string, unknown> = {};
  for (const [provider, value] of Object.entries(content.api_keys)) {
    if (typeof value !== 'string') {
      keys[provider] = value;
      continue;
    }
    const variable = FROM_ENVIRONMENT.exec(value)?.[1];
    if (variable === undefined) {
      warnings.push(
        `api_keys.${provider}: the key stands in the file; write env:NAME, so that it cannot be committed`,
      );
      keys[provider] = value;
      secrets.push(value);
      continue;
    }
    const found = environment[variable] ?? '';
    if (found === '') {
      mistakes.push(`api_keys.${provider}: the environment variable ${variable} is not set`);
    } else {
      keys[provider] = found;
      secrets.push(found);
    }
  }
  return { resolved: { ...content, api_keys: keys }, mistakes, warnings, secrets };
}

/** Where a mistake is and what it is, without the value: it may be a key. */
function describe(issue: v.BaseIssue<unknown>): string {
  const field = v.getDotPath(issue) ?? 'the file';
  // valibot's own messages repeat the value that was received.
  return `${field}: ${issue.message.replace(/ but received .*$/s, '')}`;
}

export function parseInstanceFile(
  text: string,
  kind: 'new' | 'change',
  environment: CommandContext['environment'],
): ReadInstanceFile {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text around the mistake.
    throw new CommandError('the configuration is no valid JSON');
  }
  if (!isRecord(content)) {
    throw new CommandError('the configuration must be a JSON object');
  }
  const { resolved, mistakes, warnings, secrets } = resolveKeys(content, environment);
  const result = v.safeParse(kind === 'new' ? NewInstanceFile : InstanceChangeFile, resolved);
  const all = [...(result.success ? [] : result.issues.map(describe)), ...mistakes];
  if (!result.success || all.length > 0) {
    throw new CommandError(
      `the configuration is not valid:\n${all.map((one) => `  ${one}`).join('\n')}`,
    );
  }
  const { instance_id, org_id, name, organization, ...config } = result.output;
  return {
    file: {
      instanceId: instance_id,
      orgId: org_id,
      name: name ?? null,
      organization: organization ?? null,
      config,
    },
    warnings,
    secrets,
  };
}

export async function readInstanceFile(
  path: string,
  kind: 'new' | 'change',
  environment: CommandContext['environment'],
): Promise<ReadInstanceFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new CommandError(
      `${path} cannot be read: ${error instanceof Error ? error.message : ''}`,
    );
  }
  try {
    return parseInstanceFile(text, kind, environment);
  } catch (error) {
    throw error instanceof CommandError ? new CommandError(`${path}: ${error.message}`) : error;
  }
}
