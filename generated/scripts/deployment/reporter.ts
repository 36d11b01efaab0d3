// What a command says: progress and problems on standard error, the result on standard output. Secrets that are known
// here are taken out of every line, so that not even the message of somebody else's error can carry one.
import type { CommandContext } from './context';

/** Shorter texts would take harmless words out of the lines; a secret that short protects nothing. */
const SECRET_CHARACTERS_MIN = 6;

export interface Reporter {
  say: (line: string) => void;
  warn: (line: string) => void;
  /** With `--json` the value, else the text, on standard output. */
  result: (value: object, text: string) => void;
  /** `text` without any of the secrets. */
  redact: (text: string) => string;
  /** From now on these are taken out. */
  hide: (secrets: readonly string[]) => void;
}

export function createReporter(context: CommandContext, asJson: boolean): Reporter {
  const hidden = new Set<string>();
  const redact = (text: string) =>
    // Longest first: a secret may be part of another one.
    [...hidden]
      .sort((left, right) => right.length - left.length)
      .reduce((rest, secret) => rest.replaceAll(secret, '[hidden]'), text);
  return {
    redact,
    hide: (secrets) => {
      for (const secret of secrets) {
        if (secret.length >= SECRET_CHARACTERS_MIN) {
          hidden.add(secret);
        }
      }
    },
    say: (line) => context.stderr(`${redact(line)}\n`),
    warn: (line) => context.stderr(`warning: ${redact(line)}\n`),
    result: (value, text) =>
      context.stdout(`${redact(asJson ? JSON.stringify(value, null, 2) : text)}\n`),
  };
}
