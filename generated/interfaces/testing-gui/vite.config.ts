// Builds the testing GUI from its own folder into `dist` inside it.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // Vite's default is inside node_modules, which several checkouts may share.
  cacheDir: fileURLToPath(new URL('../../.cache/vite-testing-gui', import.meta.url)),
  server: { host: '127.0.0.1' },
  preview: { host: '127.0.0.1' },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    // The policy in `_headers` knows no data: addresses.
    assetsInlineLimit: 0,
  },
});
