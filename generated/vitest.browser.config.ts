// Tests in a real browser: Debian's Chromium, or the one that CHROMIUM names, driven against the whole system running locally.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  cacheDir: '.cache/vite',
  resolve: { alias: { '@/': fileURLToPath(new URL('.', import.meta.url)) } },
  test: {
    include: ['tests/**/*.browser.test.ts'],
    environment: 'node',
    // One system and one browser at a time.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 180_000,
  },
});
