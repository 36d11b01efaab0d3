// The key, for as long as the tab lives: in session storage where the browser allows it, else in memory.
const NAME = 'monitoring-key';

let inMemory: string | null = null;

export function readKey(): string | null {
  try {
    return sessionStorage.getItem(NAME) ?? inMemory;
  } catch {
    return inMemory;
  }
}

export function storeKey(key: string | null): void {
  inMemory = key;
  try {
    if (key === null) {
      sessionStorage.removeItem(NAME);
    } else {
      sessionStorage.setItem(NAME, key);
    }
  } catch {
    // A browser that refuses storage: the key then lasts until a reload.
  }
}
