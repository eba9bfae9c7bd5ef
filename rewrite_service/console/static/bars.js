// Drawn figures: bars of contributions, the strip of stage times, lines over time.

import { h, s, time } from './dom.js'

const W = 200

/** Bars to the left and right of a middle line, one a feature. `parts`: {name, meaning, value, contribution}. */
export function contributions(parts) {
  const most = Math.max(...parts.map((part) => Math.abs(part.contribution)), 1e-9)
  return h('table', { class: 'bars' },
    h('caption', { class: 'unseen' }, 'What each feature added to the log odds of winning'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'feature'), h('th', { scope: 'col', class: 'number' }, 'value'), h('th', { scope: 'col' }, 'against · for'), h('th', { scope: 'col', class: 'number' }, 'log odds'))),
    h('tbody', {}, parts.map((part) => {
      const length = (W / 2 - 2) * Math.abs(part.contribution) / most
      const toLeft = part.contribution < 0
      return h('tr', { title: part.meaning },
        h('th', { scope: 'row' }, part.name),
        h('td', { class: 'number' }, part.value === null ? '–' : figure(part.value)),
        h('td', {}, s('svg', { viewBox: `0 0 ${W} 12`, class: 'bar', role: 'img', preserveAspectRatio: 'none', 'aria-label': `${toLeft ? 'against' : 'for'}: ${part.contribution.toFixed(2)}` },
          s('line', { x1: W / 2, x2: W / 2, y1: 0, y2: 12, class: 'axis' }),
          s('rect', { x: toLeft ? W / 2 - length : W / 2, y: 2, width: Math.max(length, 0.5), height: 8, class: toLeft ? 'against' : 'for' }))),
        h('td', { class: 'number' }, (part.contribution > 0 ? '+' : '') + part.contribution.toFixed(2)))
    })))
}

export const figure = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3))))

/** One strip of all stages, each as long as it took. `stages`: [name, µs][]. */
export function strip(stages) {
  const total = stages.reduce((sum, [, us]) => sum + us, 0) || 1
  let at = 0
  const parts = stages.map(([name, us], i) => {
    const width = 1000 * us / total
    const part = s('rect', { x: at, y: 0, width: Math.max(width - 2, 1), height: 20, rx: 2, class: `hue${i % 8}` }, s('title', {}, `${name}: ${time(us)}`))
    at += width
    return part
  })
  return h('div', { class: 'strip' },
    s('svg', { viewBox: '0 0 1000 20', preserveAspectRatio: 'none', role: 'img', 'aria-label': 'Time by stage' }, parts),
    h('ul', {}, stages.map(([name, us], i) => h('li', {}, h('i', { class: `hue${i % 8}` }), `${name} `, h('b', {}, time(us))))))
}

/** A meter from 0 to 1. */
export function meter(share, label, kind = 'for') {
  return s('svg', { viewBox: '0 0 100 6', class: 'meter', preserveAspectRatio: 'none', role: 'img', 'aria-label': `${label} ${share.toFixed(3)}` },
    s('rect', { x: 0, y: 0, width: 100, height: 6, rx: 2, class: 'ground' }),
    s('rect', { x: 0, y: 0, width: Math.max(0, Math.min(100, 100 * share)), height: 6, rx: 2, class: kind }))
}

const CW = 640, CH = 180, LEFT = 64, BOTTOM = 22

/**
 * Figures over time. `rows`: [{t, ...}], `t` in milliseconds; `series`: [{key, name, kind}]; `stacked`: areas one on
 * another, else lines, with a gap where there is no figure; `unit`: behind the figures.
 */
export function chart(title, rows, series, { stacked = false, unit = '', span = 120_000, now } = {}) {
  const end = now ?? rows.at(-1)?.t ?? 0
  const seen = rows.filter((row) => row.t > end - span)
  const sum = (row) => series.reduce((total, one) => total + (row[one.key] ?? 0), 0)
  const most = nice(Math.max(...seen.map((row) => (stacked ? sum(row) : Math.max(...series.map((one) => row[one.key] ?? 0))))))
  const x = (t) => LEFT + (CW - LEFT - 4) * (1 - (end - t) / span)
  const y = (v) => 6 + (CH - BOTTOM - 6) * (1 - v / most)
  const below = seen.map(() => 0)
  const drawn = series.map((one) => (stacked ? area(seen, one, below, x, y) : line(seen, one, x, y)))
  const last = seen.at(-1)
  return h('figure', { class: 'chart card' },
    h('figcaption', {}, title, h('span', { class: 'legend' }, series.map((one) => h('span', {}, h('i', { class: one.kind }), one.name, ' ', h('b', {}, last?.[one.key] == null ? '–' : figure(last[one.key]) + unit))))),
    s('svg', { viewBox: `0 0 ${CW} ${CH}`, role: 'img', 'aria-label': title },
      [0, 0.5, 1].map((share) => [
        s('line', { x1: LEFT, x2: CW - 4, y1: y(share * most), y2: y(share * most), class: 'grid' }),
        s('text', { x: LEFT - 6, y: y(share * most) + 4, 'text-anchor': 'end' }, figure(share * most) + unit)]),
      [span, span / 2, 0].map((ago) => s('text', { x: x(end - ago), y: CH - 4, 'text-anchor': ago === 0 ? 'end' : ago === span ? 'start' : 'middle' }, ago ? `${ago / 1000} s ago` : 'now')),
      drawn))
}

function area(rows, one, below, x, y) {
  const top = rows.map((row, i) => below[i] + (row[one.key] ?? 0))
  const points = [...rows.map((row, i) => `${x(row.t)},${y(top[i])}`), ...rows.map((row, i) => `${x(row.t)},${y(below[i])}`).reverse()]
  top.forEach((value, i) => { below[i] = value })
  return s('polygon', { points: points.join(' '), class: one.kind })
}

function line(rows, one, x, y) {
  const parts = [[]]
  for (const row of rows) {
    if (row[one.key] == null) parts.push([])
    else parts.at(-1).push(`${x(row.t)},${y(row[one.key])}`)
  }
  return parts.filter((part) => part.length).map((part) => s('polyline', { points: part.join(' '), class: `line ${one.kind}` }))
}

/** The least of 1, 2, 5 times a power of ten that is not below. */
function nice(value) {
  if (!(value > 0 && value < Infinity)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value) ?? 10 * power
}
