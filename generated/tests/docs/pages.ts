// Reads the pages of the documentation: their blocks, headings, links and the answers that examples promise.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FOLDERS = ['', 'api/', 'deployment/', 'development/', 'admin/'];

export interface Block {
  language: string;
  text: string;
  /** The last line before it that is not empty. */
  before: string;
  line: number;
}

export interface Example {
  command: string;
  line: number;
  /** Needs an account, so it is not run. */
  isRemote: boolean;
  status: number | null;
  /** Null if the page shows no more than the status. */
  answer: Block | null;
}

export interface DocumentationPage {
  /** As in `docs/api/README.md`. */
  path: string;
  text: string;
  blocks: Block[];
}

export function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split('\n');
  let open: { language: string; start: number; before: string } | null = null;
  let before = '';
  for (const [index, line] of lines.entries()) {
    const fence = /^```(\w*)/.exec(line);
    if (fence === null) {
      before = line.trim() === '' || open !== null ? before : line.trim();
    } else if (open === null) {
      open = { language: fence[1] ?? '', start: index, before };
    } else {
      const { language, start } = open;
      const content = lines.slice(start + 1, index).join('\n');
      blocks.push({ language, text: content, before: open.before, line: start + 1 });
      open = null;
      before = '';
    }
  }
  return blocks;
}

export function readPages(): DocumentationPage[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(`${ROOT}docs/${folder}`)
      .filter((name) => name.endsWith('.md') && `${folder}${name}` !== 'ci-cd.md')
      .sort()
      .map((name) => {
        const path = `docs/${folder}${name}`;
        const text = readFileSync(`${ROOT}${path}`, 'utf8');
        return { path, text, blocks: blocksOf(text) };
      }),
  );
}

/** The page without its blocks of code. */
export const proseOf = ({ text }: DocumentationPage): string =>
  text.replaceAll(/^```[\s\S]*?^```/gm, '');

/** As GitHub makes anchors from headings. */
export function anchorsOf(text: string): string[] {
  const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '');
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-'),
  );
}

/** Every block of commands that calls `curl`, with what the page says of its answer. */
export function examplesOf({ text, blocks }: DocumentationPage): Example[] {
  const lines = text.split('\n');
  return blocks.flatMap((block, index) => {
    if (block.language !== 'sh' || !/\bcurl\b/.test(block.text)) {
      return [];
    }
    const end = block.line + block.text.split('\n').length;
    const promise = lines.slice(end + 1).find((line) => line.trim() !== '') ?? '';
    const [, status] = /^Answer, (\d{3})[:.]$/.exec(promise) ?? [];
    const next = blocks[index + 1];
    return [
      {
        command: block.text,
        line: block.line,
        isRemote: block.before === 'Needs a Cloudflare account:',
        status: status === undefined ? null : Number(status),
        answer: promise.endsWith(':') && next?.before === promise ? next : null,
      },
    ];
  });
}
