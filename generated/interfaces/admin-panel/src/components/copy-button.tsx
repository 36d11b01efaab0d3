// Copies a text, and says whether it worked.
import { useState } from 'react';
import { Button } from './elements';

export function CopyButton({
  text,
  label,
  tone = 'plain',
}: {
  text: string;
  label: string;
  tone?: 'plain' | 'primary';
}) {
  const [outcome, setOutcome] = useState<'none' | 'copied' | 'failed'>('none');

  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setOutcome('copied');
    } catch {
      setOutcome('failed');
    }
  };

  return (
    <span className="inline-flex items-center gap-2">
      <Button
        tone={tone}
        icon={outcome === 'copied' ? 'check' : 'copy'}
        onClick={() => void copy()}
      >
        {outcome === 'copied' ? 'Copied' : label}
      </Button>
      <span role="status" className={outcome === 'failed' ? 'text-sm text-danger' : 'sr-only'}>
        {outcome === 'copied' && 'Copied'}
        {outcome === 'failed' && 'The browser refused. Select the text and copy it.'}
      </span>
    </span>
  );
}
