"""The style of the page: light and dark by the reader's system, one column on a phone."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root{color-scheme:light dark;--bg:#fbfaf8;--card:#fff;--ink:#1b1d20;--soft:#62666d;--rule:#e4e2dd;
--good:#0b7a4b;--bad:#b3261e;--warn:#9a5b00;--blue:#2563c9;--orange:#c2570c;--green:#0b7a4b;
--violet:#7c3fb8;--grey:#7b8088;--red:#c0322a;--teal:#0f7f8c;--pink:#b8387e;--band:#f3d9a833;
--shade:#e9b94926}
@media (prefers-color-scheme:dark){:root{--bg:#131518;--card:#1b1e22;--ink:#e8e6e1;--soft:#a0a4ab;
--rule:#30343a;--good:#4cc38a;--bad:#ff8078;--warn:#f0b455;--blue:#74a9ff;--orange:#ff9d5c;
--green:#4cc38a;--violet:#c79bff;--grey:#979ca5;--red:#ff8078;--teal:#4fc9d6;--pink:#ff86c1;
--shade:#e9b9492e}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1080px;margin:0 auto;padding:20px 18px 60px}
h1{font-size:22px;line-height:1.25;margin:0 0 2px}
h2{font-size:17px;margin:34px 0 10px;padding-top:14px;border-top:1px solid var(--rule)}
h3{font-size:15px;margin:18px 0 6px}
p{margin:6px 0;max-width:78ch}
small,.soft,.note{color:var(--soft)}
.note{font-size:13px}
.verdict{font-size:18px;line-height:1.4;margin:12px 0 14px;max-width:70ch}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.banner{border:1px solid var(--warn);border-left-width:5px;border-radius:6px;padding:8px 12px;
margin:10px 0;background:var(--card)}
.banner ul{margin:4px 0;padding-left:18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:12px 0}
.card{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:9px 12px}
.card b{display:block;font-size:20px;line-height:1.3;font-weight:650}
.card span{font-size:13px;color:var(--soft)}
ol.causes{list-style:none;counter-reset:c;margin:0;padding:0}
ol.causes li{counter-increment:c;background:var(--card);border:1px solid var(--rule);
border-radius:8px;padding:10px 14px 10px 46px;margin:8px 0;position:relative}
ol.causes li:before{content:counter(c);position:absolute;left:12px;top:10px;width:24px;height:24px;
border-radius:50%;background:var(--bad);color:var(--card);text-align:center;font-weight:700;
line-height:24px;font-size:14px}
ol.causes li.follows:before{background:var(--grey)}
ol.causes b{font-size:16px}
.evidence{display:flex;flex-wrap:wrap;gap:4px 18px;margin:4px 0 0;padding:0;font-size:13px}
.evidence span b{font-size:13px;font-weight:650}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:right;padding:4px 10px 4px 0;border-bottom:1px solid var(--rule);
vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:13px}
th:first-child,td:first-child,td.text,th.text{text-align:left}
tr.sum td{font-weight:700;border-top:2px solid var(--ink)}
td.where,.where{font-size:12px;color:var(--soft);overflow-wrap:anywhere}
.timeline .where{width:20%}
.bars td.bar{width:38%;min-width:110px}.bars td:first-child{white-space:nowrap}
.bar i{display:block;position:relative;height:14px}
.bar i:before{content:"";position:absolute;left:50%;top:-3px;bottom:-3px;border-left:1px solid
var(--grey)}
.bar i u{position:absolute;top:0;height:14px;border-radius:2px;text-decoration:none}
.bar u.good{background:var(--good)}.bar u.bad{background:var(--bad)}
figure.plot{margin:12px 0 16px;min-width:0}
figcaption{font-weight:600;font-size:14px;margin-bottom:2px}
figcaption small{font-weight:400}
.frame{position:relative;padding-left:52px}
.plot svg{display:block;width:100%;height:250px;background:var(--card);border:1px solid var(--rule);
border-radius:6px}
.plot.small svg{height:92px}.plot.half svg{height:210px}
.ys{position:absolute;left:0;top:0;bottom:0;width:48px;font-size:11px;color:var(--soft)}
.ys span{position:absolute;right:0;transform:translateY(-50%);white-space:nowrap}
.xs{display:flex;justify-content:space-between;padding-left:52px;font-size:11px;color:var(--soft)}
.key{list-style:none;margin:2px 0 4px;padding:0;display:flex;flex-wrap:wrap;gap:2px 14px;
font-size:12px;color:var(--soft)}
.key i{display:inline-block;width:12px;height:3px;border-radius:2px;margin-right:5px;
vertical-align:middle;background:currentColor}
.key li{color:var(--soft)}
svg path{fill:none;vector-effect:non-scaling-stroke}
.grid{stroke:var(--rule);stroke-width:1}
.zero{stroke:var(--soft);stroke-width:1}
.level{stroke:var(--soft);stroke-width:1;stroke-dasharray:5 4}
.line{stroke-linejoin:round;stroke-linecap:round}
.dots{stroke-width:5;stroke-linecap:round}
rect.shade{fill:var(--shade)}
.blue{stroke:var(--blue)}.orange{stroke:var(--orange)}.green{stroke:var(--green)}
.violet{stroke:var(--violet)}.grey{stroke:var(--grey)}.red{stroke:var(--red)}
.teal{stroke:var(--teal)}.pink{stroke:var(--pink)}.ink{stroke:var(--ink)}
.key .blue i{background:var(--blue)}.key .orange i{background:var(--orange)}
.key .green i{background:var(--green)}.key .violet i{background:var(--violet)}
.key .grey i{background:var(--grey)}.key .red i{background:var(--red)}
.key .teal i{background:var(--teal)}.key .pink i{background:var(--pink)}
.key .ink i{background:var(--ink)}
.two{display:grid;grid-template-columns:1fr 1fr;gap:0 22px}
.three{display:grid;grid-template-columns:1fr 1fr 1fr;gap:0 22px}
.kind{display:inline-block;font-size:12px;font-weight:600;white-space:nowrap}
.k3{color:var(--bad)}.k2{color:var(--warn)}.k1{color:var(--soft)}
details{margin:10px 0}
summary{cursor:pointer;font-weight:600}
dl{margin:8px 0}dt{font-weight:600}dd{margin:0 0 8px 0;max-width:78ch}
@media (max-width:720px){main{padding:14px 12px 40px}.two,.three{grid-template-columns:1fr}
.plot svg{height:200px}.frame,.xs{padding-left:42px}.frame{padding-left:42px}.ys{width:38px}
.verdict{font-size:16px}.cards{grid-template-columns:1fr 1fr}table{font-size:13px}
td,th{padding-right:7px}.timeline td.where,.timeline th.where{display:none}
td.text{overflow-wrap:anywhere}.bars td.text{display:none}}
@media print{body{background:#fff}.scroll{overflow:visible}}
"""
