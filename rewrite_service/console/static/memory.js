// What is remembered of a user, when somebody asks for it on purpose.

import { day, h, percent } from './dom.js'
import { KINDS } from './words.js'

export function memory(user, found) {
  const none = !found.turns && !found.preferences.length
  return h('div', { class: 'explained' },
    h('div', { class: 'card' }, h('h2', {}, 'Remembered of ', h('q', {}, user)),
      none
        ? h('p', { class: 'quiet' }, 'Nothing: nobody of this id has been recorded, or they were forgotten.')
        : h('p', {}, h('b', {}, found.turns), ` turns (${found.bundle_turns} of them in the bundle)`, Number(found.first_ms) ? ` from ${day(found.first_ms)} to ${day(found.last_ms)} UTC` : '', `, ${found.texts_in_all} different texts.`),
      h('p', { class: 'quiet' }, 'That you looked was written to the server\'s log.')),
    none ? null : [
      part('Taught', found.preferences, ['what', '', 'is', 'in the user\'s words', 'when'], (p) => [p.subject, KINDS[p.kind] ?? '', p.value, p.text, day(p.taught_ms)], 'This user has taught nothing.'),
      part('Rewrites served', found.rewrites, ['heard', 'asked instead', 'turns', 'does harm', ''], (r) => [r.heard, r.rewrite, r.turns, percent(r.harm), r.retired ? h('span', { class: 'chip bad' }, 'retired') : ''], 'No rewrite is known to have been served to this user: clients tell with rewritten_query.'),
      part('Own requests', found.texts, ['text', 'served', 'of', 'last served (UTC)'], (t) => [t.text, t.successes.toFixed(1), t.attempts, Number(t.last_success_ms) ? day(t.last_success_ms) : 'never'], 'No requests are held.'),
    ])
}

function part(title, rows, head, cells, none) {
  return h('div', { class: 'card' }, h('h3', {}, title, ' ', h('span', { class: 'quiet' }, rows.length)),
    rows.length
      ? h('div', { class: 'scroll' }, h('table', {},
        h('thead', {}, h('tr', {}, head.map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, rows.map((row) => h('tr', {}, cells(row).map((cell) => h('td', {}, cell)))))))
      : h('p', { class: 'quiet' }, none))
}
