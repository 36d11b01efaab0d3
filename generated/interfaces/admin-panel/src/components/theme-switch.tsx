// Light, dark, or as the system has it. The choice is kept on this device.
import { useState } from 'react';
import { Icon, type IconName } from './icons';

const STORAGE_NAME = 'admin-panel.theme';
const THEMES = ['system', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];

const LOOKS: Record<Theme, { icon: IconName; label: string }> = {
  system: { icon: 'system', label: 'as the system' },
  light: { icon: 'sun', label: 'light' },
  dark: { icon: 'moon', label: 'dark' },
};

function storedTheme(): Theme {
  const stored = localStorage.getItem(STORAGE_NAME);
  return THEMES.find((theme) => theme === stored) ?? 'system';
}

/** Before anything is drawn, so that the page does not flash in the other theme. */
export function applyStoredTheme(): void {
  applyTheme(storedTheme());
}

function applyTheme(theme: Theme): void {
  if (theme === 'system') {
    delete document.documentElement.dataset.theme;
  } else {
    document.documentElement.dataset.theme = theme;
  }
}

export function ThemeSwitch() {
  const [theme, setTheme] = useState(storedTheme);

  const change = () => {
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'system';
    localStorage.setItem(STORAGE_NAME, next);
    applyTheme(next);
    setTheme(next);
  };

  const { icon, label } = LOOKS[theme];
  return (
    <button
      type="button"
      onClick={change}
      aria-label={`Theme: ${label}. Change it`}
      title={`Theme: ${label}`}
      className="rounded-lg p-2 text-muted pointer-coarse:p-3 hover:bg-sunken hover:text-ink"
    >
      <Icon name={icon} />
    </button>
  );
}
