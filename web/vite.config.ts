import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'

/** The service worker knows the name of every file. */
function serviceWorker(): Plugin {
  return {
    name: 'service-worker',
    writeBundle({ dir }) {
      const files = readdirSync(join(dir!, 'assets')).map((name) => `assets/${name}`)
      const text = readFileSync('sw.js', 'utf8').replace('FILES = []', `FILES = ${JSON.stringify([...files, 'icon.svg'])}`)
      writeFileSync(join(dir!, 'sw.js'), text)
    },
  }
}

/** Compressed once, here, so that the server never has to. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    writeBundle({ dir }) {
      for (const name of readdirSync(dir!, { recursive: true }) as string[]) {
        if (!/\.(js|css|svg|html)$/.test(name)) continue
        const file = join(dir!, name)
        const bytes = readFileSync(file)
        const best = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }
        writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }))
        writeFileSync(`${file}.br`, brotliCompressSync(bytes, best))
      }
    },
  }
}

const api = process.env.THREADMILL_URL ?? 'http://127.0.0.1:2024'

export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // data: URLs would need a hole in the page's policy
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
  plugins: [serviceWorker(), compressed()],
  server: {
    proxy: Object.fromEntries(
      ['/threads', '/shared', '/runs', '/assistants', '/store', '/feed', '/info', '/ws'].map((path) => [
        path,
        { target: api, ws: true },
      ]),
    ),
  },
})
