// Two bundles asked the same: decisions side by side, and the candidates that differ.

import { h, percent } from './dom.js'
import { verdict } from './explained.js'
import { layer } from './words.js'

export function comparison(request, bundle, { served, other }) {
  const rows = new Map()
  for (const [side, answer] of [['served', served], ['other', other]]) {
    answer.candidates.forEach((candidate, rank) => {
      const row = rows.get(candidate.text) ?? { text: candidate.text }
      rows.set(candidate.text, { ...row, [side]: { ...candidate, rank } })
    })
  }
  const weight = (row) => Math.max(row.served?.probability ?? 0, row.other?.probability ?? 0)
  const sorted = [...rows.values()].sort((a, b) => weight(b) - weight(a))
  const same = served.response.decision === other.response.decision && served.response.text === other.response.text
  return h('div', { class: 'explained' },
    h('p', { class: `card ${same ? '' : 'differs'}` }, h('b', {}, same ? 'Both answer alike.' : 'They answer differently.'),
      served.response.bundle_version === bundle ? ' Both are the same bundle.' : ''),
    h('div', { class: 'two' },
      h('section', { 'aria-label': 'Served bundle' }, h('h3', {}, 'served'), verdict(served.response, request.query, true)),
      h('section', { 'aria-label': 'Other bundle' }, h('h3', {}, 'other'), verdict(other.response, request.query, true))),
    h('div', { class: 'card' }, h('h3', {}, 'Candidates'),
      sorted.length
        ? h('div', { class: 'scroll' }, h('table', { class: 'compared' },
          h('thead', {}, h('tr', {}, ['text', 'layer', 'served', 'other', 'change'].map((name, i) => h('th', { scope: 'col', class: i > 1 ? 'number' : null }, name)))),
          h('tbody', {}, sorted.map((row) => h('tr', { class: row.served && row.other ? '' : 'differs' },
            h('th', { scope: 'row' }, row.text, (row.served ?? row.other).rank === 0 ? h('span', { class: 'chip' }, 'left alone') : ''),
            h('td', {}, layer((row.served ?? row.other).layer) ?? ''),
            side(row.served), side(row.other),
            h('td', { class: 'number' }, row.served && row.other ? signed(row.other.probability - row.served.probability) : row.served ? 'only served' : 'only other'))))))
        : h('p', { class: 'quiet' }, 'Neither weighed any candidate.')))
}

const side = (candidate) => h('td', { class: 'number' }, candidate ? percent(candidate.probability) : '–')
const signed = (change) => (Math.abs(change) < 0.0005 ? '=' : `${change > 0 ? '+' : '−'}${percent(Math.abs(change))}`)
