"""The look of a report, in light and in dark."""

CSS = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6876; --line: #dfe4ea; --page: #f6f7f9; --card: #ffffff; --bar: #4c8bf5;
  --right: #12803f; --right-back: #e2f5e9; --wrong: #b3261e; --wrong-back: #fce8e6; --part: #8a5a00; --part-back: #fff2d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b4; --line: #2c3541;
  --page: #11161d; --card: #19202a; --bar: #5c97f7; --right: #6fd797; --right-back: #14301f; --wrong: #ff9c94;
  --wrong-back: #3a1a18; --part: #f0c569; --part-back: #33280f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main, header, nav { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 32px; }
h1 { font-size: 28px; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 6px; }
h3 { font-size: 15px; margin: 24px 0 8px; }
p { margin: 6px 0 14px; max-width: 76ch; }
.soft, .note { color: var(--soft); }
nav { position: sticky; top: 0; z-index: 1; background: var(--page); border-bottom: 1px solid var(--line); padding-top: 10px;
  padding-bottom: 10px; margin-top: 16px; display: flex; gap: 6px 18px; flex-wrap: wrap; }
nav a { color: var(--ink); text-decoration: none; font-weight: 600; }
nav a:hover { text-decoration: underline; }
section { scroll-margin-top: 48px; }
.grid { display: grid; gap: 16px; }
.facts { grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 8px 24px; margin: 18px 0 0; }
.facts dt { color: var(--soft); font-size: 12px; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.tiles { grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); margin: 18px 0 8px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; min-width: 0; }
.tile b { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; background: var(--card); border: 1px solid var(--line); }
th, td { text-align: left; padding: 5px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; }
thead th { color: var(--soft); font-size: 13px; }
td.n { text-align: right; }
thead th { white-space: normal; vertical-align: bottom; }
td.wide { white-space: normal; min-width: 300px; }
td small { color: var(--soft); }
tr.inner th { font-weight: 400; padding-left: 28px; }
.curves { grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)); }
.curves svg { width: 100%; height: auto; display: block; }
.examples { grid-template-columns: repeat(auto-fill, minmax(min(540px, 100%), 1fr)); align-items: start; }
.example { display: grid; grid-template-columns: 108px 1fr; gap: 4px 16px; }
.example img { width: 108px; border-radius: 6px; border: 1px solid var(--line); display: block; }
.question { font-weight: 600; font-size: 16px; }
.answers { margin: 4px 0; }
.badge { border-radius: 6px; padding: 1px 8px; font-weight: 600; }
.right { color: var(--right); background: var(--right-back); }
.wrong { color: var(--wrong); background: var(--wrong-back); }
.part { color: var(--part); background: var(--part-back); }
.steps { grid-column: 1 / -1; margin: 8px 0 0; display: grid; gap: 8px; border-top: 1px solid var(--line); padding-top: 10px; }
.step { display: grid; grid-template-columns: 148px 1fr; gap: 0 12px; font-size: 13px; }
.step.used { border-left: 3px solid var(--right); padding-left: 9px; margin-left: -12px; }
.step code { color: var(--soft); font-size: 11.5px; overflow-wrap: anywhere; }
.step ul { list-style: none; margin: 0; padding: 0; }
.step li { display: grid; grid-template-columns: 96px 1fr; gap: 10px; align-items: center; }
.weight { display: grid; grid-template-columns: 1fr 40px; white-space: nowrap; gap: 6px; align-items: center;
  font-variant-numeric: tabular-nums; }
.weight i { display: block; height: 7px; border-radius: 4px; background: var(--bar); min-width: 1px; }
.weight span { text-align: right; }
details { margin: 14px 0; }
summary { cursor: pointer; font-weight: 600; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px; overflow-x: auto;
  font-size: 12.5px; line-height: 1.45; }
@media (max-width: 560px) { .step { grid-template-columns: 1fr; }
  .example { grid-template-columns: 72px 1fr; } .example img { width: 72px; } }
"""
