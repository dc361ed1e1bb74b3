"""The style sheet of the page: one column on a phone, two on a wide screen."""

CSS = """
.gradio-container { max-width: 1180px !important; width: 100% !important; margin: 0 auto !important; }
#head header { display: flex; align-items: baseline; gap: .75rem; flex-wrap: wrap; padding: .25rem 0 .5rem; }
#head h1 { font-size: 1.5rem; font-weight: 750; letter-spacing: -.02em; margin: 0; color: var(--body-text-color); }
#head p { margin: 0; color: var(--body-text-color-subdued); }
#head span { margin-left: auto; font-size: .8rem; padding: .15rem .6rem; border-radius: 999px; max-width: 100%;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary); color: var(--body-text-color-subdued); }
#head span:empty { display: none; }
#image { overflow: hidden; }
#image .image-container, #image .image-frame { min-height: 300px; }
#image img { max-height: 460px; object-fit: contain; cursor: crosshair; touch-action: manipulation; }
#legend, #status, #hint, #head, #examples-title { padding: 0 !important; border: none !important; background: none !important; }
#legend ul.legend { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; margin: 0; padding: 0; }
#legend li { display: inline-flex; align-items: center; gap: .4rem; margin: 0; padding: .15rem .65rem; font-size: .88rem; border-radius: 999px;
  background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary); color: var(--body-text-color); overflow-wrap: anywhere; }
#legend .dot { flex: none; width: .75rem; height: .75rem; border-radius: 999px; }
#region-controls { align-items: center; min-height: 2rem; }
#hint p { margin: 0; font-size: .88rem; color: var(--body-text-color-subdued); }
#hint p.set { color: var(--body-text-color); font-weight: 600; }
#search, #prompt { flex-wrap: nowrap; gap: .5rem; }
#status p { margin: 0; padding: .5rem .75rem; border-radius: .6rem; font-size: .9rem; overflow-wrap: anywhere;
  background: var(--background-fill-secondary); color: var(--body-text-color); border: 1px solid var(--border-color-primary); }
#status p.error { background: #fef2f2; color: #991b1b; border-color: #fecaca; }
.dark #status p.error { background: #450a0a; color: #fecaca; border-color: #7f1d1d; }
mark.phrase { color: #fff; padding: .05em .4em; border-radius: .4em; font-weight: 600; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
#examples-title h2 { font-size: 1rem; font-weight: 650; margin: .5rem 0 0; color: var(--body-text-color); }
#chat .placeholder-content, #chat .placeholder { text-align: center; padding: 0 1rem; }
#examples .grid-wrap { height: auto !important; max-height: none !important; min-height: 0 !important; }
#examples { min-height: 0 !important; height: auto !important; }
#examples .grid-container { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)) !important; }
#examples .thumbnail-item { display: flex; flex-direction: column; aspect-ratio: auto; height: auto; background: var(--block-background-fill); }
#examples .thumbnail-item img { aspect-ratio: 1; height: auto; width: 100%; }
#examples .caption-label { position: static; max-width: 100%; width: 100%; margin: 0; padding: .45rem .6rem; border: none; border-radius: 0; text-align: left;
  white-space: normal; background: none; color: var(--body-text-color); opacity: 1; font-size: .85rem; }
@media (max-width: 700px) {
  .gradio-container { padding: .5rem !important; }
  #image img { max-height: 340px; }
  #head header { gap: .25rem .75rem; }
  #image .image-container, #image .image-frame { min-height: 220px; }
  #chat { height: 330px !important; }
  #examples .grid-container { grid-template-columns: repeat(2, 1fr) !important; }
}
"""
