// What the interfaces and their tests see: a browser, and Vite's imports of styles and assets.
/// <reference types="vite/client" />
