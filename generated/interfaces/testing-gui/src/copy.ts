// Buttons that copy a value to the clipboard and say whether it worked.
import { element, icon } from './dom';

const CONFIRMATION_MS = 2_000;

async function writeToClipboard(text: string): Promise<boolean> {
  try {
    // Absent on insecure origins, and refused without permission.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

export function copyButton(
  subject: string,
  text: string,
  announce: (message: string) => void,
): HTMLButtonElement {
  const label = element('span', {}, 'Copy');
  const symbol = element('span', { class: 'symbol' }, icon('copy'));
  const attributes = { type: 'button', class: 'copy', 'aria-label': `Copy ${subject}` };
  const node = element('button', attributes, symbol, label);
  let timer: ReturnType<typeof setTimeout> | undefined;

  const copy = async () => {
    const copied = await writeToClipboard(text);
    symbol.replaceChildren(icon(copied ? 'check' : 'alert'));
    label.textContent = copied ? 'Copied' : 'Failed';
    announce(
      copied
        ? `Copied ${subject}.`
        : 'The browser does not allow copying. Select the text instead.',
    );
    clearTimeout(timer);
    timer = setTimeout(() => {
      symbol.replaceChildren(icon('copy'));
      label.textContent = 'Copy';
    }, CONFIRMATION_MS);
  };
  node.addEventListener('click', () => void copy());
  return node;
}
