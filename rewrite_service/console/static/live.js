// What is asked now and how it goes, of all server processes together, once a second while it is looked at.

import { get } from './api.js'
import { chart, meter, strip } from './bars.js'
import { $, h, percent, problem } from './dom.js'
import { STAGES } from './words.js'

const KEPT = 300
let rows = []
let timer = null

const DECISIONS = [
  { key: 'rewritten', name: 'rewritten', kind: 'for' },
  { key: 'fine', name: 'looked fine', kind: 'hue4' },
  { key: 'left', name: 'left otherwise', kind: 'hue2' },
  { key: 'refused', name: 'refused', kind: 'against' },
]
const LATENCIES = [{ key: 'p50', name: 'median', kind: 'hue0' }, { key: 'p99', name: '99 of 100 within', kind: 'hue5' }]

export function enter() {
  if (timer === null) look()
}

export function leave() {
  clearTimeout(timer)
  timer = null
}

async function look() {
  timer = 0
  const place = $('live')
  try {
    const told = await get(`live?since=${rows.at(-1)?.t ?? 0}`)
    rows = [...rows, ...told.samples].slice(-KEPT)
    if (timer !== null) place.replaceChildren(...draw(told))
  } catch (error) {
    if (timer !== null) place.replaceChildren(problem(error))
  }
  if (timer !== null) timer = setTimeout(look, 1000)
}

function draw(told) {
  const reasons = Object.entries(told.reasons).sort((a, b) => b[1] - a[1])
  const all = reasons.reduce((sum, [, n]) => sum + n, 0)
  const stages = [...STAGES, 'remembered'].filter((name) => told.stages_us[name] !== undefined).map((name) => [name, told.stages_us[name]])
  return [
    h('div', { class: 'tiles' },
      tile('serving', `${told.serving} of ${told.configured}`, 'processes'),
      tile('under way', told.in_flight, 'calls'),
      tile('bundle', Object.keys(told.bundles).join(', ') || '–', Object.keys(told.bundles).length > 1 ? 'they differ' : 'decides')),
    h('div', { class: 'two' },
      chart('Requests a second', rows, DECISIONS, { stacked: true, now: told.now }),
      chart('Time of a request, last 10 s', rows, LATENCIES, { unit: ' ms', now: told.now })),
    h('div', { class: 'two' },
      h('div', { class: 'card' }, h('h3', {}, 'Answers of the last minute'),
        all ? h('table', { class: 'shares' }, h('tbody', {}, reasons.map(([reason, n]) => h('tr', {}, h('th', { scope: 'row' }, reason.replaceAll('_', ' ')), h('td', {}, meter(n / all, reason)), h('td', { class: 'number' }, percent(n / all))))))
          : h('p', { class: 'quiet' }, 'Nobody asked.')),
      h('div', { class: 'card' }, h('h3', {}, 'Stages, mean of the last minute'),
        stages.length ? strip(stages) : h('p', { class: 'quiet' }, 'Nobody asked.'),
        h('h3', {}, 'Found in caches'),
        Object.keys(told.hits).length ? h('table', { class: 'shares' }, h('tbody', {}, Object.entries(told.hits).map(([cache, share]) => h('tr', {}, h('th', { scope: 'row' }, cache.replaceAll('_', ' ')), h('td', {}, meter(share, cache)), h('td', { class: 'number' }, percent(share))))))
          : h('p', { class: 'quiet' }, 'Nobody asked.'))),
  ]
}

const tile = (name, value, unit) => h('div', { class: 'card tile' }, h('span', {}, name), h('b', {}, String(value)), h('span', { class: 'quiet' }, unit))
