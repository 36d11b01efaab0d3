// Short messages about what was done: shown for a while, and read out by screen readers.
import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from 'react';
import { Icon } from './icons';

const SHOWN_MILLISECONDS = 6000;

interface Message {
  id: number;
  text: string;
}

const AnnouncerContext = createContext<(text: string) => void>(() => undefined);

export const useAnnounce = (): ((text: string) => void) => useContext(AnnouncerContext);

export function Announcer({ children }: { children: ReactNode }) {
  const [message, setMessage] = useState<Message | null>(null);

  const announce = useCallback(
    (text: string) => setMessage((last) => ({ id: (last?.id ?? 0) + 1, text })),
    [],
  );

  useEffect(() => {
    if (message === null) {
      return;
    }
    const timer = setTimeout(() => setMessage(null), SHOWN_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [message]);

  return (
    <AnnouncerContext value={announce}>
      {children}
      <div
        role="status"
        aria-label="Notifications"
        className="pointer-events-none fixed inset-x-4 bottom-20 z-30 flex justify-center md:bottom-6"
      >
        {message !== null && (
          <p
            key={message.id}
            className="enters flex items-center gap-2 rounded-lg bg-ink px-4 py-2.5 text-sm font-medium text-canvas shadow-float"
          >
            <Icon name="check" className="size-4" />
            {message.text}
          </p>
        )}
      </div>
    </AnnouncerContext>
  );
}
