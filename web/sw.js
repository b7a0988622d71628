// The page itself without a server: what it is made of is kept, and shown when the server cannot be reached.
// Nothing of the API passes here. The build puts the names of all files in the place of FILES.
const FILES = []
const NAME = `threadmill-${FILES.join('|')}`
const at = (path) => new URL(path, self.registration.scope).href
const INDEX = ['./', './t/offline'] // the same page; where its paths begin differs

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll([...INDEX, ...FILES].map(at))))
})

// An old page that is still open keeps its files: a new version waits until it is closed.
self.addEventListener('activate', (event) => {
  const others = (names) => names.filter((name) => name.startsWith('threadmill-') && name !== NAME)
  const tidy = caches.keys().then((names) => Promise.all(others(names).map((name) => caches.delete(name))))
  event.waitUntil(Promise.all([tidy, self.clients.claim()]))
})

self.addEventListener('fetch', (event) => {
  const { request } = event
  const path = request.url.startsWith(at('./')) ? request.url.slice(at('./').length).split(/[?#]/)[0] : null
  if (request.method !== 'GET' || path === null) return
  if (request.mode === 'navigate' && (path === '' || path.startsWith('t/'))) {
    const kept = () => caches.match(at(path === '' ? INDEX[0] : INDEX[1]), { cacheName: NAME })
    const gateway = (answer) => ([502, 504].includes(answer.status) ? kept().then((one) => one ?? answer) : answer)
    event.respondWith(fetch(request).then(gateway, (error) => kept().then((one) => one ?? Promise.reject(error))))
  } else if (FILES.includes(path)) {
    event.respondWith(caches.match(request, { cacheName: NAME }).then((one) => one ?? fetch(request)))
  }
})
