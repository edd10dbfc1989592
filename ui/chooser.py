"""The visitor's photo: chosen once, the same on every page, kept in this session only."""

import streamlit as st

from ui import address, language
from ui.language import translate as _
from ui.photo import Photo, PhotoError, Reason
from ui.samples import DEFAULT, SAMPLES, sample, thumbnail

_STATE = "photo"
_NOTICE = "photo_notice"
_CHOSEN = "photos_chosen"
_UPLOADED = "upload"


def current() -> Photo:
    """The chosen photo; at first the one that the link names, else the default sample."""
    if _STATE not in st.session_state:
        asked = st.query_params.get("photo", DEFAULT)
        st.session_state[_STATE] = sample(asked if asked in SAMPLES else DEFAULT)
        if asked == _UPLOADED:
            st.session_state[_NOTICE] = True
    return st.session_state[_STATE]


def link_name() -> str:
    """The photo as a link may name it. An upload's content never travels in a link."""
    photo = current()
    return photo.name if photo.source == "sample" else _UPLOADED


def title(photo: Photo) -> str:
    """What the photo is called on the page."""
    if photo.source == "sample":
        return SAMPLES[photo.name].title[language.current()]
    return _("Your photo")


def notice() -> None:
    """Say once that a link's own photo is not here."""
    if st.session_state.get(_NOTICE):
        text = _(
            "This link was made with an uploaded photo. Photos stay with their owner, "
            "so you see a sample. Choose your own at any time."
        )
        st.info(text, icon=":material/image:")


@st.fragment
def button(key: str) -> None:
    """The button that opens the chooser; the page is not run for that."""
    if st.button(_("Change photo"), icon=":material/add_a_photo:", key=key, help=title(current())):
        _dialog()


def offer(name: str, key: str) -> None:
    """A button that takes a sample, where a page has nothing to show on the present photo."""
    title = SAMPLES[name].title[language.current()]
    label = _("Look at: {title}").format(title=title)
    if st.button(label, icon=":material/image:", key=key, on_click=lambda: _keep(sample(name))):
        st.rerun()  # the whole page, not the step alone


def _dialog() -> None:
    # The title is translated, so the dialog is made when it is opened.
    st.dialog(_("Your photo"), width="large")(_choose)()


def _choose() -> None:
    # A chooser that is opened again before the page has settled would still hold the last file.
    fresh = st.session_state.get(_CHOSEN, 0)
    ways = {"upload": _("Upload"), "camera": _("Camera"), "samples": _("Samples")}
    way = st.segmented_control(
        _("Where from"),
        list(ways),
        format_func=ways.get,
        default="upload",
        label_visibility="collapsed",
        key="photo_way",
    )
    if way == "camera":
        _take(st.camera_input(_("Take a photo"), key=f"photo_camera_{fresh}"))
    elif way == "samples":
        _samples()
    else:
        formats = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"]
        _take(
            st.file_uploader(
                _(
                    "JPEG, PNG, WebP, BMP, GIF or TIFF, "
                    "up to 20 MB and 50 megapixels; WebP up to 16"
                ),
                type=formats,
                key=f"photo_file_{fresh}",
            )
        )
        st.caption(
            _(
                "Your photo stays in this session: it is never written to disk and nobody else "
                "can see it. It is gone a few minutes after you close the page."
            )
        )


def _take(uploaded) -> None:
    if uploaded is None:
        return
    try:
        _set(Photo.from_bytes(uploaded.getvalue(), uploaded.name))
    except PhotoError as error:
        st.error(
            _sentence(error) + " " + _("The photo you had is still there."),
            icon=":material/broken_image:",
        )


def _set(photo: Photo) -> None:
    _keep(photo)
    st.rerun()


def _keep(photo: Photo) -> None:
    st.session_state[_STATE] = photo
    st.session_state[_CHOSEN] = st.session_state.get(_CHOSEN, 0) + 1
    st.session_state.pop(_NOTICE, None)
    address.carry("photo", link_name())


def _samples() -> None:
    columns = st.columns(3)
    for place, (key, credit) in enumerate(SAMPLES.items()):
        with columns[place % 3]:
            st.image(thumbnail(key), width="stretch", alt="")
            if st.button(
                credit.title[language.current()], key=f"photo_sample_{key}", width="stretch"
            ):
                _set(sample(key))
            st.caption(
                f"{credit.author} · [{credit.licence}]({credit.licence_url}) · {credit.source}"
            )


def _sentence(error: PhotoError) -> str:
    sentences = {
        Reason.TOO_LARGE: _("This file is larger than 20 MB. Choose a smaller one."),
        Reason.TOO_MANY_PIXELS: _(
            "This picture has more than {megapixels} megapixels, the most for its kind of file. "
            "Scale it down first."
        ),
        Reason.TOO_LONG: _("This picture is more than 65,535 pixels long. Scale it down first."),
        Reason.NOT_A_PHOTO: _(
            "This is not a picture in a format we read. Choose a JPEG, PNG, WebP, BMP, GIF or TIFF."
        ),
        Reason.BROKEN: _(
            "This picture is damaged and cannot be read. Try to save or export it again."
        ),
    }
    return sentences[error.reason].format(megapixels=error.megapixels)
