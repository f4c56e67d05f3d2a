// report_style.c - how a page looks: on a screen in light and dark, narrow and wide, and on paper. Every colour is a
// property of :root, so that tests can tell what is read on what; pictures keep their white ground, which their
// colours are chosen for. A figure is large while it is the target of a link: without any script.
#include "analysis/report/report.h"

const char hy_report_css[] =
    ":root{color-scheme:light dark;--paper:#ffffff;--ink:#1a1a1a;--muted:#595959;--link:#0b5cad;--line:#dddddd;"
    "--rule:#888888;--box:#f4f4f4;--mark:#fff3d6;--edge:#e69f00;--card:#ffffff;--print:#000000}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--paper:#16181c;--ink:#e8e8e8;--muted:#adb2ba;"
    "--link:#82bcff;--line:#3a3f47;--rule:#737a85;--box:#23272e;--mark:#4a3a10;--edge:#e69f00}}\n"
    // text
    "body{font:16px/1.5 'DejaVu Sans',Verdana,system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:78rem;margin:2rem auto;padding:0 1.2rem;overflow-wrap:anywhere}\n"
    "h1{font-size:1.7rem;line-height:1.25;margin:0 0 .4rem}\n"
    "h2{font-size:1.3rem;margin:2.6rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}\n"
    "h3{font-size:1.15rem;margin:2.2rem 0 .4rem}h4{font-size:1rem;margin:1.8rem 0 .2rem}\n"
    "h2,h3,h4,figure{scroll-margin-top:.8rem}\n"
    "p,ul{max-width:48rem;margin:.5rem 0}a,summary{color:var(--link)}summary{cursor:pointer}\n"
    "a:focus-visible,summary:focus-visible,.wide:focus-visible{outline:3px solid var(--link);outline-offset:2px}\n"
    ".label{display:inline-block;font-size:.85rem;font-weight:600;background:var(--mark);"
    "border:1px solid var(--edge);border-radius:.3rem;padding:.05rem .5rem;margin-left:.6rem;vertical-align:middle}\n"
    ".read{margin:.2rem 0 .8rem}figcaption,caption,.read,dt,th .u,.none,tr.g th{color:var(--muted)}\n"
    "pre{background:var(--box);border:1px solid var(--line);padding:.7rem;font:13px/1.4 'DejaVu Sans Mono',monospace;"
    "overflow-x:auto;white-space:pre-wrap}\n"
    "dl{display:grid;grid-template-columns:minmax(min-content,max-content) 1fr;gap:.15rem 1.2rem;font-size:.9rem}"
    "dd{margin:0}\n"
    // contents
    "nav{background:var(--box);border-radius:.4rem;padding:.5rem 1.2rem;margin:1.2rem 0;font-size:.9rem}"
    "nav ul{max-width:none;margin:0;padding-left:1.1rem;list-style:none}nav>ul{padding-left:0}"
    "nav a{text-decoration:none}nav a:hover{text-decoration:underline}\n"
    "nav details{display:inline-block;margin-left:.8rem;font-size:.85rem}nav details[open]{display:block}"
    "nav details ul{padding:0}nav details li{display:inline-block;margin-right:1rem}\n"
    // tables
    ".wide{overflow-x:auto;margin:1rem 0}table{border-collapse:collapse;font-size:.8rem;"
    "font-variant-numeric:tabular-nums;overflow-wrap:normal}\n"
    "caption{text-align:left;padding-bottom:.4rem;position:sticky;left:0;max-width:min(48rem,100vw - 2.6rem)}\n"
    "th,td{padding:.26rem .34rem;text-align:left}thead th{max-width:7rem;border-bottom:1px solid var(--rule);"
    "vertical-align:bottom}thead tr.g th{border-bottom:1px solid var(--line);text-align:center;max-width:none}\n"
    "tbody th{font-weight:400;min-width:5rem;max-width:min(16rem,28vw);overflow-wrap:anywhere;position:sticky;left:0;"
    "background:var(--paper)}tbody tr:nth-child(even)>*{background:var(--box)}"
    "td.k,td.n{white-space:nowrap}th.n,td.n{text-align:right}th .u{font-weight:400;display:block}\n"
    // figures
    "figure{margin:1rem 0 2rem}figcaption{font-size:.9rem;max-width:48rem;margin-top:.3rem}\n"
    ".pic{display:block;overflow-x:auto;width:fit-content;max-width:100%;box-sizing:border-box;padding:.3rem;"
    "color:var(--print);background:var(--card);border:1px solid var(--line);border-radius:.4rem}\n"
    ".pic svg{display:block;max-width:100%;height:auto}.turn{display:none}.turn a{margin-right:1rem}\n"
    ".row{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(14rem,100%),1fr));gap:1.2rem 1rem;"
    "align-items:start;margin:1rem 0 2rem}.row figure{margin:0;min-width:0}\n"
    ".row figure:not(:target) .full{display:none}.row figure:target{grid-column:1/-1}"
    ".row figure:target .of{display:none}figure:target .turn{display:block}figure:target .pic svg{max-width:none}\n"
    // paper: everything is shown
    "@media print{:root{color-scheme:light}body{margin:0;max-width:none;font-size:11pt}nav,figure .turn{display:none}"
    ".row{grid-template-columns:1fr 1fr}.row figure:not(:target) .full{display:inline}.row figure .of{display:none}"
    ".row figure:target{grid-column:auto}figure:target .pic svg{max-width:100%}"
    ".wide,pre,.pic{overflow:visible}figure,tr{break-inside:avoid}h2,h3,h4,.read{break-after:avoid}"
    "table{font-size:7.5pt}th,td{padding:.15rem .3rem}}\n"
    "@media print{details::details-content{content-visibility:visible;display:block;height:auto}}\n";
