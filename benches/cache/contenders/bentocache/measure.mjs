// bentocache, asked the same as the other contenders. The program that starts this says by a line what is next, and gets a line
// with JSON back.
//
// usage: node measure.mjs QUESTION [HOST:PORT…]
import { createInterface } from 'node:readline'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'

const [question, ...servers] = process.argv.slice(2)
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (said) => process.stdout.write(`${JSON.stringify(said)}\n`)
const told = async () => (await lines.next()).value
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds))

const connection = (server) => {
  const at = server.lastIndexOf(':')
  return { host: server.slice(0, at), port: Number(server.slice(at + 1)) }
}

const inMemory = () => bentostore().useL1Layer(memoryDriver({ maxItems: 20_000 }))
const onRedis = (server) => bentostore().useL2Layer(redisDriver({ connection: connection(server) }))
// As its documents say for several processes.
const node = (server) =>
  inMemory()
    .useL2Layer(redisDriver({ connection: connection(server) }))
    .useBus(redisBusDriver({ connection: connection(server) }))
const made = (store, options = {}) => {
  const cache = new BentoCache({ default: 'only', stores: { only: store }, ttl: '10m', ...options })
  // It throws what its connections say where nobody listens.
  cache.on('error', () => {})
  return cache
}

async function level1() {
  const keys = Array.from({ length: 2000 }, (_, key) => `notes@1:list:open:${key}`)
  const cache = made(inMemory())
  const value = { text: 'x'.repeat(256) }
  for (const key of keys) await cache.set({ key, value, tags: ['notes', 'lists'] })
  const hits = 20_000
  const rounds = []
  for (let round = 0; round < 7; round++) {
    const began = process.hrtime.bigint()
    for (let hit = 0; hit < hits; hit++) {
      if ((await cache.get({ key: keys[(hit * 7919) % keys.length] })) === undefined) throw new Error('a miss')
    }
    rounds.push(Number(process.hrtime.bigint() - began) / hits)
  }
  rounds.sort((one, other) => one - other)
  say({ nanoseconds: rounds[3] })
}

async function level2([server]) {
  const cache = made(onRedis(server))
  const keys = Array.from({ length: 1000 }, (_, key) => `notes@1:list:open:${key}`)
  for (const key of keys) await cache.set({ key, value: 'x'.repeat(1024) })
  const end = performance.now() + 3000
  let done = 0
  let failed = 0
  const task = async (number) => {
    for (let at = number; performance.now() < end; at += 257) {
      const value = await cache.get({ key: keys[at % keys.length] })
      if (value?.length === 1024) done++
      else failed++
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: 256 }, (_, number) => task(number)))
  say({ thousands: done / (performance.now() - began), failed })
}

async function removedWhileLoading() {
  const cache = made(inMemory())
  let source = 'old'
  let began
  const hasBegun = new Promise((done) => (began = done))
  let letGo
  const gate = new Promise((done) => (letGo = done))
  const first = cache.getOrSet({
    key: 'key',
    factory: async () => {
      const value = source
      began()
      await gate
      return value
    },
  })
  await hasBegun
  source = 'new'
  const removing = cache.delete({ key: 'key' })
  await sleep(50)
  letGo()
  await first
  await removing
  say({ found: await cache.getOrSet({ key: 'key', factory: () => source }) })
}

async function manyCallers() {
  const cache = made(inMemory())
  let loads = 0
  const callers = Array.from({ length: 400 }, () =>
    cache.getOrSet({
      key: 'key',
      factory: async () => {
        loads++
        await sleep(300)
        return 'value'
      },
    }),
  )
  await Promise.all(callers)
  say({ loads })
}

async function lostMessage([direct, behindProxy]) {
  const text = (cache, loaded) => cache.getOrSet({ key: 'text', factory: () => loaded })
  const here = made(node(direct))
  const there = made(node(behindProxy))
  await text(here, 'old')
  await text(there, 'old')
  await sleep(500)
  say('ready')
  await told()
  await here.delete({ key: 'text' })
  say('removed')
  await told()
  say({ found: await text(there, 'new') })
}

async function frozen([server]) {
  const cache = made(node(server))
  await cache.getOrSet({ key: 'text', factory: () => 'old' })
  say('ready')
  await told()
  const began = performance.now()
  const asked = cache.getOrSet({ key: 'other', factory: () => 'loaded' }).then(
    (value) => value,
    (error) => error.message,
  )
  const found = await Promise.race([asked, sleep(5000).then(() => null)])
  say({ found, milliseconds: performance.now() - began })
}

async function flush([server]) {
  const cache = made(onRedis(server))
  const tenant = cache.namespace('one-of-many')
  const fill = async () => {
    for (let from = 0; from < 10_000; from += 500) {
      const some = Array.from({ length: 500 }, (_, key) => `${from + key}`)
      await Promise.all(some.map((key) => tenant.set({ key, value: 'x', tags: ['all'] })))
    }
  }
  await fill()
  say('ready')
  await told()
  await tenant.deleteByTag({ tags: ['all'] })
  say('by tag')
  await told()
  const began = performance.now()
  await tenant.clear()
  say({ milliseconds: performance.now() - began })
}

const questions = {
  level1,
  level2,
  'removed-while-loading': removedWhileLoading,
  'many-callers': manyCallers,
  'lost-message': lostMessage,
  frozen,
  flush,
}
await questions[question](servers)
process.exit(0)
