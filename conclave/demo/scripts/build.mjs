// Bundles the page into dist/: index.html, app.js, style.css. Nothing is loaded from elsewhere.
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));

rmSync(`${root}dist`, { recursive: true, force: true });
mkdirSync(`${root}dist`);
for (const file of ['index.html', 'style.css']) {
  copyFileSync(`${root}static/${file}`, `${root}dist/${file}`);
}
await build({
  absWorkingDir: root,
  entryPoints: ['src/main.ts'],
  outfile: 'dist/app.js',
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
});
