// Builds the monitoring dashboard from its own folder into `dist` inside it.
import { fileURLToPath } from 'node:url';
import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // Vite's default is inside node_modules, which several checkouts may share.
  cacheDir: fileURLToPath(new URL('../../.cache/vite-monitoring', import.meta.url)),
  plugins: [react(), tailwindcss()],
  server: { host: '127.0.0.1' },
  preview: { host: '127.0.0.1' },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    // The policy in `_headers` knows no data: addresses.
    assetsInlineLimit: 0,
  },
});
