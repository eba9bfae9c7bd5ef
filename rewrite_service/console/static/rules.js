// Blocks and pins: all of them, new ones, and their removal.

import { about, call } from './api.js'
import { $, day, h, note, problem } from './dom.js'
import { word } from './words.js'

const LASTING = [['1', 'for a day'], ['7', 'for 7 days'], ['30', 'for 30 days'], ['365', 'for a year'], ['', 'until it is removed']]

export async function enter() {
  const place = $('rules')
  place.replaceChildren(h('p', { class: 'waiting card' }, 'Reading the rules…'))
  try {
    const { rules } = await call('ListRules', {})
    place.replaceChildren(head(), table(rules))
  } catch (error) {
    place.replaceChildren(problem(error))
  }
}

export const leave = () => {}

function head() {
  return h('div', { class: 'head' }, h('h2', {}, 'Rules'),
    h('div', { class: 'buttons' }, ['Pin', 'Block'].map((kind) => h('button', { type: 'button', onclick: () => openRule(kind, '', '', enter) }, `${kind} a rewrite`))))
}

function table(rules) {
  if (!rules.length) {
    return h('div', { class: 'empty card' }, h('p', {}, 'Nothing is blocked or pinned.'),
      h('p', { class: 'quiet' }, 'A pin rewrites whatever is heard so; a block makes a pass of a rewrite. Both count from the next request on, for everybody.'))
  }
  const now = Date.now()
  return h('div', { class: 'card scroll' }, h('table', {},
    h('thead', {}, h('tr', {}, ['', 'heard', 'rewrite', 'why', 'who', 'made (UTC)', 'until (UTC)', ''].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, rules.map((rule) => h('tr', {},
      h('td', {}, h('span', { class: `chip ${rule.kind === 'RULE_KIND_PIN' ? 'hit' : 'bad'}` }, word(rule.kind, 'RULE_KIND_'))),
      h('td', {}, rule.heard || h('i', {}, 'anything')), h('td', {}, rule.rewrite), h('td', {}, rule.reason), h('td', {}, rule.author),
      h('td', {}, day(rule.made_ms)),
      h('td', {}, !Number(rule.expires_ms) ? 'no end' : day(rule.expires_ms) + (Number(rule.expires_ms) <= now ? ' (over)' : '')),
      h('td', {}, h('button', { type: 'button', 'aria-label': `Remove the rules about ${rule.rewrite}`, onclick: () => remove(rule) }, 'Remove')))))))
}

async function remove(rule) {
  try {
    await call('Unblock', { heard: rule.heard, rewrite: rule.rewrite })
    note('Removed; it counts from the next request on.')
  } catch (error) {
    note(error.message, true)
  }
  enter()
}

/** Opens the dialog for a new rule; `done` is called once it holds. */
export async function openRule(kind, heard, rewrite, done) {
  const { scopes, name } = await about
  if (!scopes.includes('admin')) return note("Your token may not block or pin: it lacks the scope 'admin'.", true)
  const dialog = $('rule-dialog')
  const input = (id, label, value, required, hint = '') => [h('label', { for: id }, label), h('input', { id, value, required, maxlength: 1000, spellcheck: 'false', placeholder: hint })]
  const failed = h('p', { role: 'alert', class: 'problem', hidden: true })
  const form = h('form', { onsubmit: send },
    h('h2', { id: 'rule-title' }, `${kind} a rewrite`),
    h('p', { class: 'quiet' }, kind === 'Pin' ? 'Whatever is heard so is rewritten, for everybody, from the next request on.' : 'It becomes a pass, for everybody, from the next request on.'),
    input('rule-heard', kind === 'Pin' ? 'Heard' : 'Heard; empty: whatever is heard', heard, kind === 'Pin'),
    input('rule-rewrite', 'Rewrite', rewrite, true),
    input('rule-reason', 'Why', '', true, 'for whoever reads it later'),
    h('label', { for: 'rule-lasts' }, 'For how long'),
    h('select', { id: 'rule-lasts' }, LASTING.map(([days, label]) => h('option', { value: days, selected: days === '30' }, label))),
    failed,
    h('p', { class: 'quiet' }, `It will say that ${name} made it.`),
    h('div', { class: 'buttons' }, h('button', { class: 'main' }, kind), h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel')))

  async function send(event) {
    event.preventDefault()
    const days = $('rule-lasts').value
    try {
      await call(kind, {
        heard: $('rule-heard').value, rewrite: $('rule-rewrite').value, reason: $('rule-reason').value,
        expires_ms: days ? Date.now() + 86_400_000 * Number(days) : 0,
      })
    } catch (error) {
      failed.textContent = error.message
      failed.hidden = false
      return
    }
    dialog.close()
    note(`${kind === 'Pin' ? 'Pinned' : 'Blocked'}; it counts from the next request on.`)
    done()
  }

  dialog.replaceChildren(form)
  dialog.showModal()
  ;(heard || kind === 'Block' ? (rewrite ? $('rule-reason') : $('rule-rewrite')) : $('rule-heard')).focus()
}
